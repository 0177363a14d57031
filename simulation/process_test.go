package simulation

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"
)

var processSeed = flag.Uint64("process-seed", 0, "the seed that TestHashOfThisProcess runs")

func processOptions(seed uint64) Options {
	return Options{Seed: seed, Profile: "everything", Duration: 10 * time.Second}
}

// TestHashOfThisProcess prints the hash of a run for TestSameSeedSameRunInAnotherProcess.
func TestHashOfThisProcess(t *testing.T) {
	if *processSeed == 0 {
		t.Skip("run by another test, with a seed")
	}
	result := run(t, processOptions(*processSeed))
	fmt.Printf("hash=%x records=%d\n", result.Hash, result.Records)
}

// The trace is the same in another process, which has its own addresses, map seeds and number of processors.
func TestSameSeedSameRunInAnotherProcess(t *testing.T) {
	const seed = 11
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	here := run(t, processOptions(seed))
	want := fmt.Sprintf("hash=%x records=%d", here.Hash, here.Records)
	for _, processors := range []int{1, 2} {
		command := exec.Command(executable, "-test.run=^TestHashOfThisProcess$", "-test.cpu="+strconv.Itoa(processors),
			"-process-seed="+strconv.Itoa(seed))
		output, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, output)
		}
		if got := string(regexp.MustCompile(`hash=\S+ records=\S+`).Find(output)); got != want {
			t.Errorf("%d processors: %q, here %q", processors, got, want)
		}
	}
}
