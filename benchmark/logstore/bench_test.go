package logstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
)

func requirement(t *testing.T, text string) benchmark.Requirement {
	t.Helper()
	r, err := benchmark.ParseRequirement(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRequirementsAreHeldAgainstTheStoreThatIsNamed(t *testing.T) {
	report := Report{
		Append: []AppendResult{{Store: "pebble", Appenders: 8, Payload: 1024, Ratio: 0.5}, {Store: "seglog", Appenders: 8, Payload: 1024, Ratio: 0.9}},
		Open: []OpenResult{
			{Store: "seglog", OpenSeconds: 1, LoadSeconds: 0.5, HeapPerBatch: 40}, {Store: "seglog", Killed: true, OpenSeconds: 2},
		},
	}
	var out bytes.Buffer
	err := report.judge("seglog", []benchmark.Requirement{
		requirement(t, "append.8x1024.ratio>=0.9"), requirement(t, "open.closed_s<=1.5"), requirement(t, "open.killed_s<=2"),
		requirement(t, "open.bytes_per_batch<=40"),
	}, &out)
	if err != nil || strings.Count(out.String(), "MET") != 4 {
		t.Fatal(err, out.String())
	}
	if err := report.judge("pebble", []benchmark.Requirement{requirement(t, "append.8x1024.ratio>=0.9")}, &out); !errors.Is(err, benchmark.ErrRequirement) {
		t.Error(err)
	}
	if err := report.judge("pebble", []benchmark.Requirement{requirement(t, "open.closed_s<=1")}, &out); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
}

func TestBenchOpensWhatItsChildFilled(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	config := benchmark.DefaultConfig("flotilla")
	config.Workload, config.Data, config.JSON = benchmark.WorkloadOpen, t.TempDir(), filepath.Join(t.TempDir(), "report.json")
	config.Shards, config.LogMiB, config.LogDB = 10, 1, "seglog"
	config.Require = []benchmark.Requirement{requirement(t, "open.killed_s<=60")}
	var out bytes.Buffer
	if _, err := Bench(context.Background(), config, []string{program, "-order"}, &out); err != nil {
		t.Fatal(err, out.String())
	}
	text, err := os.ReadFile(config.JSON)
	var report Report
	if err == nil {
		err = json.Unmarshal(text, &report)
	}
	if err != nil || len(report.Open) != 2*len(Stores()) || len(report.Requirements) != 1 || report.Open[0].BatchesLoaded == 0 {
		t.Fatalf("%s: %v", text, err)
	}
}

func TestBenchAppends(t *testing.T) {
	config := benchmark.DefaultConfig("flotilla")
	config.Workload, config.Data, config.Duration = benchmark.WorkloadAppend, t.TempDir(), 10*time.Millisecond
	report, err := Bench(context.Background(), config, nil, &bytes.Buffer{})
	if err != nil || len(report.Append) != len(Stores())*len(benchmark.AppendAppenders())*len(benchmark.AppendPayloads()) {
		t.Fatalf("%+v: %v", report, err)
	}
}

func TestAnOrderForAnUnknownStoreIsRefused(t *testing.T) {
	order := FillOrder{Store: "paper"}
	if err := order.Run(context.Background(), &bytes.Buffer{}); !errors.Is(err, ErrConfig) {
		t.Fatal(err)
	}
}
