package simulation

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// run runs a seed that has to hold every property.
func run(t *testing.T, options Options) Result {
	t.Helper()
	result, err := Run(options)
	if err != nil {
		t.Fatal(err)
	}
	if v := result.Violation; v != nil {
		t.Fatalf("seed %d of %s: %v\n%s", options.Seed, options.Profile, v, strings.Join(v.Tail, "\n"))
	}
	return result
}

// A few seeds of every profile hold every property, and together they meet operations and faults of every kind that the
// profile is made of, most of them many times.
func TestProfiles(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 3
	}
	for _, profile := range Profiles() {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			var total Counters
			for seed := range seeds {
				logDB := seglogLogDB // what is not the store's shows with the model as well, and faster
				if seed%3 != 0 {
					logDB = modelLogDB
				}
				result := run(t, Options{Seed: seed, Profile: profile, LogDB: logDB, Duration: 20 * time.Second})
				total.Merge(&result.Counters)
			}
			if total.Operations() < 1000*seeds {
				t.Errorf("%d operations in %d seeds", total.Operations(), seeds)
			}
			if answered, _ := total.Value("answered"); answered < total.Operations()/4 {
				t.Errorf("only %d of %d operations were answered", answered, total.Operations())
			}
			if profile == "sessions" && !testing.Short() {
				wantSessions(t, &total)
			}
			if profile == "snapshots" && !testing.Short() {
				wantMachineFailures(t, &total)
			}
			if profile == "operator" && !testing.Short() && (total[countMachineExported] == 0 || total[countMachineImported] == 0) {
				t.Errorf("%d state machines on disk were exported, %d imported", total[countMachineExported], total[countMachineImported])
			}
			if profile != "calm" && total.Faults() < 5*seeds {
				t.Errorf("%d faults in %d seeds", total.Faults(), seeds)
			}
		})
	}
}

// wantSessions: what sessions and machines on disk are there for did happen.
func wantSessions(t *testing.T, total *Counters) {
	t.Helper()
	for _, which := range []counter{
		countSessions, countSessionCalls, countSessionRetries, countSessionDropped, countSessionLate, countSessionRepeated, countSessionEvicted,
		countSessionExpired, countSessionForgotten, countMachineSyncs, countMachineSetBack, countInstalls,
	} {
		if total[which] < 10 {
			t.Errorf("%s=%d", counterNames[which], total[which])
		}
	}
}

// wantMachineFailures: calls to files of state machines on disk failed, and replicas were quarantined for that.
func wantMachineFailures(t *testing.T, total *Counters) {
	t.Helper()
	for _, which := range []counter{countMachineCall, countMachineSync, countMachineSpace, countMachineUpdateFailed, countMachineSyncFailed, countQuarantined} {
		if total[which] == 0 {
			t.Errorf("%s=0", counterNames[which])
		}
	}
}

// The same seed gives the same run, to the last record of the trace and the last byte of every disk, whatever the machine does:
// on one processor and on two, with and without a trace file.
func TestSameSeedSameRun(t *testing.T) {
	for profile, logDB := range map[string]string{
		"everything": seglogLogDB, "crashy": modelLogDB, "snapshots": seglogLogDB, "sessions": modelLogDB, "operator": seglogLogDB,
	} {
		options := Options{Seed: 5, Profile: profile, LogDB: logDB, Duration: 10 * time.Second}
		before := runtime.GOMAXPROCS(1)
		first := run(t, options)
		runtime.GOMAXPROCS(2)
		second := run(t, options)
		runtime.GOMAXPROCS(before)
		traced, err := RunTraced(options, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range []Result{second, traced} {
			if other.Hash != first.Hash || other.Steps != first.Steps || other.Records != first.Records || other.Counters != first.Counters {
				t.Errorf("%s: trace %x with %d records, then %x with %d", profile, first.Hash, first.Records, other.Hash, other.Records)
			}
		}
		options.Seed++
		if third := run(t, options); third.Hash == first.Hash {
			t.Errorf("%s: two seeds with the same trace", profile)
		}
	}
}

// Every line of regressions.txt is a seed that once showed an error; it has to hold every property now.
func TestRegressions(t *testing.T) {
	file, err := os.Open("regressions.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	count := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 5 || !slices.Contains([]string{modelLogDB, seglogLogDB, pebbleLogDB}, fields[3]) {
			t.Fatalf("%q: want profile, seed, seconds, log store and why", line)
		}
		seed, err := strconv.ParseUint(fields[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seconds, err := strconv.Atoi(fields[2])
		if err != nil {
			t.Fatal(err)
		}
		count++
		t.Run(fmt.Sprintf("%s/%d", fields[0], seed), func(t *testing.T) {
			t.Parallel()
			run(t, Options{Seed: seed, Profile: fields[0], LogDB: fields[3], Duration: time.Duration(seconds) * time.Second})
		})
	}
	if count == 0 {
		t.Error("no regressions")
	}
}

func TestOptionsAreValidated(t *testing.T) {
	for _, options := range []Options{{Hosts: 2}, {Hosts: 8}, {Shards: 51}, {Shards: -1}, {Duration: time.Millisecond}, {Rate: -1}, {Profile: "rough"}, {LogDB: "paper"}} {
		if _, err := Run(options); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", options, err)
		}
	}
	_, err := Run(Options{Hosts: 9, Profile: "rough"})
	if err == nil || !strings.Contains(err.Error(), "Hosts") || !strings.Contains(err.Error(), "Profile") {
		t.Errorf("not every fault is listed: %v", err)
	}
}

// A bound on the steps ends the faults, and not the recovery.
func TestStepsEndTheFaults(t *testing.T) {
	bounded := run(t, Options{Seed: 3, Profile: "crashy", Steps: 2000})
	if whole := run(t, Options{Seed: 3, Profile: "crashy", Duration: 10 * time.Second}); bounded.Steps >= whole.Steps {
		t.Errorf("%d steps with a bound, %d without", bounded.Steps, whole.Steps)
	}
	if probes, _ := bounded.Counters.Value("answered"); probes == 0 {
		t.Error("nothing was answered")
	}
}
