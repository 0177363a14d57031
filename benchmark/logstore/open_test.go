package logstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// fillDirectory and fillKilled make this test binary the child that fills a store.
var (
	fillDirectory = flag.String("fill", "", "fill the store in this directory and exit")
	fillKilled    = flag.Bool("fill-killed", false, "wait to be killed")
	fillOrder     = flag.String("order", "", "carry out this order and exit")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *fillOrder != "" {
		var order FillOrder
		err := json.Unmarshal([]byte(*fillOrder), &order)
		if err == nil {
			err = order.Run(context.Background(), os.Stdout)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if *fillDirectory == "" {
		os.Exit(m.Run())
	}
	err := FillStore(context.Background(), pebbleStore(), *fillDirectory, testFill, func() {
		fmt.Println(FilledLine)
		if *fillKilled {
			select {}
		}
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var testFill = Fill{Shards: 20, Bytes: 1 << 20, Payload: 5000}

func testChild(t *testing.T) func(Store, string, Fill, bool) *exec.Cmd {
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return func(_ Store, directory string, _ Fill, killed bool) *exec.Cmd {
		arguments := []string{"-fill", directory}
		if killed {
			arguments = append(arguments, "-fill-killed")
		}
		return exec.Command(executable, arguments...)
	}
}

func TestOpenFindsWhatTheChildWrote(t *testing.T) {
	var out bytes.Buffer
	results, err := RunOpen(context.Background(), OpenConfig{
		Stores: []Store{pebbleStore()}, Directory: t.TempDir(), Fill: testFill, Child: testChild(t),
	}, &out)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 2 || results[0].Killed || !results[1].Killed {
		t.Fatalf("%+v", results)
	}
	for _, r := range results {
		if want := testFill.Bytes / 5100; r.BatchesLoaded < want || r.OpenSeconds <= 0 || r.DiskBytes < testFill.Bytes/2 {
			t.Errorf("want %d batches: %+v", want, r)
		}
	}
}

func TestOpenReportsAChildThatFails(t *testing.T) {
	_, err := RunOpen(context.Background(), OpenConfig{
		Stores: []Store{pebbleStore()}, Directory: t.TempDir(), Fill: testFill,
		Child: func(Store, string, Fill, bool) *exec.Cmd { return exec.Command("false") },
	}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "before it had filled") {
		t.Fatal(err)
	}
}

func TestOpenConfigListsEveryFault(t *testing.T) {
	_, err := RunOpen(context.Background(), OpenConfig{Fill: Fill{Shards: -1, Bytes: -1, Payload: -1}}, &bytes.Buffer{})
	if !errors.Is(err, ErrConfig) {
		t.Fatal(err)
	}
	for _, field := range []string{"Stores", "Directory", "Child", "Shards", "Bytes", "Payload"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named in %v", field, err)
		}
	}
}
