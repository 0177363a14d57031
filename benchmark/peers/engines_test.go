package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/internal/spantest"
)

// TestEngines runs every engine for a moment, by callbacks and by blocking calls, and holds the end check against it.
func TestEngines(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real hosts")
	}
	for _, engine := range engines() {
		for _, label := range []string{engine.Name, engine.Name + benchmark.BlockingSuffix} {
			t.Run(label, func(t *testing.T) { runShortly(t, label, func(*benchmark.Config) {}) })
		}
	}
}

// TestEnginesOverADistance runs those that the comparison puts a distance between: nothing is answered sooner than a message and its
// answer take.
func TestEnginesOverADistance(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real hosts")
	}
	const delay = 5 * time.Millisecond
	for _, label := range []string{"flotilla", "limit", "dragonboat", "hashicorp"} {
		t.Run(label, func(t *testing.T) {
			result := runShortly(t, label, func(config *benchmark.Config) { config.Delay = delay })
			if least := 2 * float64(delay/time.Millisecond); result.WriteLatency.P50 < least {
				t.Errorf("half of the writes took less than %g ms, the least is %g", result.WriteLatency.P50, least)
			}
		})
	}
}

func TestReadsAndSnapshots(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real hosts")
	}
	for name, set := range map[string]func(*benchmark.Config){
		"flotilla":          func(config *benchmark.Config) { config.ReadRatio, config.Reads = 0.5, benchmark.ReadsByLease },
		"dragonboat":        func(config *benchmark.Config) { config.ReadRatio = 0.5 },
		"flotilla:blocking": func(config *benchmark.Config) { config.SnapshotEntries = 100 },
		"dragonboat-tan":    func(config *benchmark.Config) { config.SnapshotEntries = 100 },
	} {
		t.Run(name, func(t *testing.T) {
			runShortly(t, name, set)
		})
	}
}

func runShortly(t *testing.T, label string, set func(*benchmark.Config)) benchmark.Result {
	t.Helper()
	var result benchmark.Result
	spantest.Run(t, 200*time.Millisecond, func(span time.Duration) (lacking string) {
		config := benchmark.DefaultConfig(label)
		config.Shards, config.InFlight = 1, 50
		config.Warmup, config.Duration = 50*time.Millisecond, span
		config.Data = t.TempDir()
		set(&config)
		var out strings.Builder
		report, err := benchmark.Run(context.Background(), config, engines(), &out)
		if err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
		if result = report.Median; result.WritesPerSecond == 0 || config.ReadRatio > 0 && result.ReadsPerSecond == 0 {
			return "nothing was written, or nothing read\n" + out.String()
		}
		return ""
	})
	return result
}

// TestRefusalIsMeasured runs the command and reads its report.
func TestRefusalIsMeasured(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real host")
	}
	data := t.TempDir()
	report := filepath.Join(data, "report.json")
	var out strings.Builder
	if code := run(context.Background(), []string{"refusal", "--data", data, "--json", report}, &out, &out); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out.String())
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var got benchmark.Report
	if err := json.Unmarshal(text, &got); err != nil || got.Median.RefusalNanoseconds <= 0 || got.Median.RefusalAllocs != 0 {
		t.Errorf("got %+v, %v", got.Median, err)
	}
	if left, err := os.ReadDir(data); err != nil || len(left) != 1 {
		t.Errorf("besides the report there are left %v, %v", left, err)
	}
}
