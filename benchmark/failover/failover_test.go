package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/internal/leaktest"
)

// hostArgument makes the test binary a host process.
const hostArgument = "flotilla-failover-host"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == hostArgument { // whatever follows: a child that ran the tests would have children again
		if err := RunHost(context.Background(), strings.Join(os.Args[2:], " "), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	leaktest.Main(m)
}

func smallConfig(t *testing.T) (benchmark.Config, []string) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	config := benchmark.DefaultConfig("flotilla")
	config.Workload, config.Shards, config.InFlight = benchmark.WorkloadFailover, 4, 12
	config.Warmup = 50 * time.Millisecond
	config.Data = filepath.Join(t.TempDir(), "data")
	return config, []string{program, hostArgument}
}

func require(t *testing.T, text string) benchmark.Requirement {
	t.Helper()
	requirement, err := benchmark.ParseRequirement(text)
	if err != nil {
		t.Fatal(err)
	}
	return requirement
}

// The whole thing with real processes: a host is closed, another killed, every shard comes back, the replicas agree, the
// report is written and the data are gone. On a busy machine leaders may move between when they were spread and the event, or an
// election may need more attempts than there is patience for; then it is done once more, with other election timeouts.
func TestBenchWithRealProcesses(t *testing.T) {
	for _, timeout := range []time.Duration{200 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second} {
		if benchWithRealProcesses(t, timeout) {
			return
		}
	}
	t.Error("the leaders never stayed, or never came back")
}

// benchWithRealProcesses reports whether the leaders stayed until the event and came back after it.
func benchWithRealProcesses(t *testing.T, electionTimeout time.Duration) bool {
	config, program := smallConfig(t)
	config.ElectionTimeout = electionTimeout
	config.JSON = filepath.Join(t.TempDir(), "report.json")
	config.Require = []benchmark.Requirement{require(t, "kill.unrecovered==0"), require(t, "close.unrecovered==0")}
	var out strings.Builder
	report, err := Bench(t.Context(), config, program, &out)
	if errors.Is(err, benchmark.ErrRequirement) { // the patience is some election timeouts
		t.Logf("%v\n%s", err, out.String())
		return false
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if len(report.Events) != 2 || len(report.Figures) != 2 {
		t.Fatalf("%+v", report)
	}
	for i, want := range []struct {
		name   string
		host   int
		shards int // of which the host leads
	}{{"close", 1, 2}, {"kill", 2, 1}} {
		e, f := &report.Events[i], &report.Figures[i]
		if f.Shards != want.shards {
			t.Logf("%s: the host led %d shards, not %d", want.name, f.Shards, want.shards)
			return false
		}
		if e.Name != want.name || e.Host != want.host || f.MedianMS <= 0 || f.MaxMS < f.MedianMS {
			t.Errorf("%+v\n%+v", e, f)
		}
	}
	text, err := os.ReadFile(config.JSON)
	if err != nil {
		t.Fatal(err)
	}
	var stored Report
	if err := json.Unmarshal(text, &stored); err != nil || len(stored.Requirements) != 2 || !stored.Requirements[0].Met {
		t.Errorf("%v\n%s", err, text)
	}
	if !strings.Contains(out.String(), "check: all 12 replicas agree") {
		t.Error(out.String())
	}
	if _, err := os.Stat(config.Data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("data are left: %v", err)
	}
	return true
}

// A host that does not come up ends the run with what it said, and leaves no process behind.
func TestAHostThatDoesNotStartEndsTheRun(t *testing.T) {
	config, program := smallConfig(t)
	_, err := Bench(t.Context(), config, append(program, "no options:"), &strings.Builder{})
	if err == nil || !strings.Contains(err.Error(), "host 1 does not answer") {
		t.Error(err)
	}
	if _, err := os.Stat(config.Data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("data are left: %v", err)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	h := &hostProcess{}
	if _, err := h.obey(t.Context(), request{Do: "dance"}); err == nil {
		t.Error("an unknown request was obeyed")
	}
	if err := RunHost(t.Context(), "no options", strings.NewReader(""), &strings.Builder{}); err == nil {
		t.Error("a host without options runs")
	}
}
