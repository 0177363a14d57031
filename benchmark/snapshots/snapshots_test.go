package snapshots

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/flotilla-raft/flotilla/nodehost"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func smallConfig(t *testing.T, workload string, requirements ...string) benchmark.Config {
	config := benchmark.DefaultConfig("flotilla")
	config.Workload, config.InFlight, config.Entries, config.StateMiB = workload, 100, 2000, 2
	config.Warmup, config.Duration = 20*time.Millisecond, 100*time.Millisecond
	config.Data, config.JSON = filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "report.json")
	for _, text := range requirements {
		requirement, err := benchmark.ParseRequirement(text)
		if err != nil {
			t.Fatal(err)
		}
		config.Require = append(config.Require, requirement)
	}
	return config
}

// bench makes a run. Where a machine stands still a leader may be lost, and what was asked of it be without an outcome: that error is returned, all others but those
// of requirements end the test.
func bench(t *testing.T, config benchmark.Config) (*Report, error) {
	t.Helper()
	var out strings.Builder
	report, err := Bench(context.Background(), config, &out)
	if nodehost.MaybeApplied(err) {
		return report, err
	}
	if err != nil && !errors.Is(err, benchmark.ErrRequirement) {
		t.Fatalf("%v\n%s", err, out.String())
	}
	text, readErr := os.ReadFile(config.JSON)
	var read Report
	if readErr != nil || json.Unmarshal(text, &read) != nil || read.Median != report.Median {
		t.Errorf("%v: %s", readErr, text)
	}
	return report, err
}

func TestRestart(t *testing.T) {
	for _, store := range []string{"seglog", "pebble"} {
		config := smallConfig(t, benchmark.WorkloadRestart, "restart.applied>=2001", "restart.read_s<=60")
		config.LogDB = store
		report, err := bench(t, config)
		if f := report.Median; err != nil || f.Started <= 0 || f.Led < f.Started || f.Read < f.Led {
			t.Errorf("%s: %v, %+v", store, err, f)
		}
	}
}

func TestSnapshot(t *testing.T) {
	spantest.Run(t, 100*time.Millisecond, func(span time.Duration) (lacking string) {
		config := smallConfig(t, benchmark.WorkloadSnapshot, "snapshot.rate_ratio>=1000")
		config.Duration = span
		report, err := bench(t, config)
		if f := report.Median; !errors.Is(err, benchmark.ErrRequirement) || f.Before <= 0 || f.Bandwidth <= 0 || f.Pause <= 0 || f.Seconds <= 0 {
			return fmt.Sprintf("%v, %+v", err, f)
		}
		return ""
	})
}

func TestStream(t *testing.T) {
	spantest.Run(t, 100*time.Millisecond, func(span time.Duration) (lacking string) {
		config := smallConfig(t, benchmark.WorkloadStream, "stream.memory_ratio>=1000")
		config.Duration = span
		report, err := bench(t, config)
		f := report.Median
		if !errors.Is(err, benchmark.ErrRequirement) || f.Disk <= 0 || f.Loopback <= 0 || f.StreamMemory <= 0 || f.StreamDisk <= 0 || f.InstallSeconds <= 0 || f.BeforeP99 <= 0 {
			return fmt.Sprintf("%v, %+v", err, f)
		}
		return ""
	})
}

// Every figure has a name that a requirement can have, and the other way round.
func TestFiguresHaveNames(t *testing.T) {
	names := slices.Sorted(maps.Keys((&Figures{}).fields()))
	wanted := slices.Sorted(slices.Values(slices.Concat(benchmark.RestartMetrics(), benchmark.SnapshotMetrics(), benchmark.StreamMetrics())))
	if !slices.Equal(names, wanted) {
		t.Errorf("figures %v, requirements %v", names, wanted)
	}
}
