package slowfollower

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

func smallConfig(t *testing.T, requirements ...string) benchmark.Config {
	config := benchmark.DefaultConfig("flotilla")
	config.Workload, config.Shards, config.InFlight = benchmark.WorkloadSlowFollower, 2, 8
	config.Warmup, config.Duration = 50*time.Millisecond, 300*time.Millisecond
	config.Data = filepath.Join(t.TempDir(), "data")
	for _, text := range requirements {
		requirement, err := benchmark.ParseRequirement(text)
		if err != nil {
			t.Fatal(err)
		}
		config.Require = append(config.Require, requirement)
	}
	return config
}

// The whole thing: the follower falls behind, the others go on, it catches up, the replicas agree, the report is written and the data
// are gone.
func TestBench(t *testing.T) {
	spantest.Run(t, 300*time.Millisecond, func(span time.Duration) (lacking string) { return runBench(t, span) })
}

func runBench(t *testing.T, span time.Duration) (lacking string) {
	config := smallConfig(t, "catch_up.log_reads_elsewhere==0", "catch_up.commands>0", "stopped.writes_per_second>0")
	config.JSON, config.Duration = filepath.Join(t.TempDir(), "report.json"), span
	var out strings.Builder
	report, err := Bench(context.Background(), config, &out)
	if f := &report.Median; err == nil && f.Before == 0 ||
		errors.Is(err, benchmark.ErrRequirement) && (f.CatchUp == 0 || f.Stopped == 0) && f.LogReadsElsewhere == 0 {
		return fmt.Sprintf("nothing is measured: %v\n%s", err, out.String())
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if f := report.Repeats[0]; f.Before <= 0 || f.CatchUpSeconds <= 0 || f.StoppedRatio != f.Stopped/f.Before {
		t.Errorf("%+v", f)
	}
	text, err := os.ReadFile(config.JSON)
	if err != nil {
		t.Fatal(err)
	}
	var read Report
	if err := json.Unmarshal(text, &read); err != nil || read.Median != report.Median || len(read.Requirements) != 3 {
		t.Errorf("%v: %s", err, text)
	}
	if _, err := os.Stat(filepath.Join(config.Data, "slow-follower")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("data are left: %v", err)
	}
	if !strings.Contains(out.String(), "MET     catch_up.commands>0") {
		t.Errorf("no verdict in: %s", out.String())
	}
	return ""
}

func TestMissedRequirement(t *testing.T) {
	report := Report{Repeats: []Figures{{StoppedRatio: 0.5}, {StoppedRatio: 0.8}, {StoppedRatio: 0.6}}}
	report.conclude()
	if report.Median.StoppedRatio != 0.6 {
		t.Errorf("median %v", report.Median.StoppedRatio)
	}
	config := smallConfig(t, "stopped.rate_ratio>=0.9", "stopped.busy==0")
	var out strings.Builder
	_, err := report.Median.fields().Judge(config.Require, &out)
	if !errors.Is(err, benchmark.ErrRequirement) || !strings.Contains(err.Error(), "stopped.rate_ratio>=0.9") ||
		strings.Contains(err.Error(), "busy") {
		t.Error(err)
	}
}

// Every figure has a name that a requirement can have, and the other way round.
func TestFiguresHaveNames(t *testing.T) {
	names := slices.Sorted(maps.Keys((&Figures{}).fields()))
	wanted := slices.Sorted(slices.Values(benchmark.SlowFollowerMetrics()))
	if !slices.Equal(names, wanted) {
		t.Errorf("figures %v, requirements %v", names, wanted)
	}
}

// A run that is interrupted ends, and leaves nothing behind.
func TestInterrupted(t *testing.T) {
	config := smallConfig(t)
	config.Duration = time.Hour
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var out strings.Builder
	if _, err := Bench(ctx, config, &out); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// A disk without room ends the run at once and by name: the follower would never catch up.
func TestDiskFull(t *testing.T) {
	c := smallConfig(t)
	_, err := Run(context.Background(), Options{
		Hosts: c.Hosts, Shards: c.Shards, Payload: c.Payload, InFlight: c.InFlight, Repeat: 1, Warmup: c.Warmup, Duration: c.Duration,
		Data: t.TempDir(), reserve: 1 << 60,
	}, io.Discard)
	if !errors.Is(err, nodehost.ErrDiskFull) || !strings.Contains(err.Error(), "host 1") {
		t.Errorf("error %v, want %v of host 1", err, nodehost.ErrDiskFull)
	}
}
