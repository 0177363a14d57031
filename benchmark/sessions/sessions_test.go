package sessions

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/internal/leaktest"
	"github.com/flotilla-raft/flotilla/internal/spantest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestBench(t *testing.T) {
	if testing.Short() {
		t.Skip("the yardsticks take seconds on a machine that is busy")
	}
	spantest.Run(t, 200*time.Millisecond, func(span time.Duration) (lacking string) { return runBench(t, span) })
}

// runBench asks for no freedom from errors: a leader may change on a machine that is busy.
func runBench(t *testing.T, span time.Duration) (lacking string) {
	config := benchmark.DefaultConfig("flotilla")
	config.Workload, config.Shards, config.InFlight, config.Repeat = benchmark.WorkloadSessions, 2, 500, 1
	config.Warmup, config.Duration = 20*time.Millisecond, span
	config.Data, config.JSON = filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "report.json")
	for _, text := range []string{"sessions.errors>=0", "sessions.rate_ratio>=1000"} {
		requirement, err := benchmark.ParseRequirement(text)
		if err != nil {
			t.Fatal(err)
		}
		config.Require = append(config.Require, requirement)
	}
	var out strings.Builder
	report, err := Bench(context.Background(), config, &out)
	if !errors.Is(err, benchmark.ErrRequirement) {
		t.Fatalf("%v\n%s", err, out.String())
	}
	text, err := os.ReadFile(config.JSON)
	var read Report
	if err != nil || json.Unmarshal(text, &read) != nil || read.Median != report.Median {
		t.Errorf("%v: %s", err, text)
	}
	f := report.Median
	if f.With == 0 || f.Without == 0 {
		return "nothing is measured\n" + out.String()
	}
	if f.With < 0 || f.Without < 0 || f.RateRatio != f.With/f.Without || f.CPURatio <= 0 || f.P50Ratio <= 0 {
		t.Errorf("%+v", f)
	}
	if v := report.Requirements; len(v) != 2 || !v[0].Met || v[1].Met {
		t.Errorf("%+v", v)
	}
	return ""
}

// Every figure has a name that a requirement can have, and the other way round.
func TestFiguresHaveNames(t *testing.T) {
	names, wanted := slices.Sorted(maps.Keys((&Figures{}).fields())), slices.Sorted(slices.Values(benchmark.SessionMetrics()))
	if !slices.Equal(names, wanted) {
		t.Errorf("figures %v, requirements %v", names, wanted)
	}
}

// A pair is a run with sessions and the one behind it; the medians are those of the pairs, not of the runs.
func TestMediansAreThoseOfPairs(t *testing.T) {
	r := Report{Runs: &benchmark.Report{}}
	for _, rates := range [][2]float64{{50, 100}, {900, 1000}, {8, 10}} {
		for _, rate := range rates {
			r.Runs.Repeats = append(r.Runs.Repeats, benchmark.Result{WritesPerSecond: rate, CPUSecondsPerMillion: 1, Errors: 1})
		}
	}
	r.conclude()
	if want := (Figures{With: 50, Without: 100, RateRatio: 0.8, CPURatio: 1, Errors: 2}); r.Median != want {
		t.Errorf("%+v, want %+v", r.Median, want)
	}
}
