package benchmark

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/internal/leaktest"
	"github.com/flotilla-raft/flotilla/internal/spantest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// tiny is a configuration that ends at once.
func tiny(t *testing.T, engine string) Config {
	config := DefaultConfig(engine)
	config.Shards, config.InFlight = 4, 20
	config.Duration, config.Warmup = 60*time.Millisecond, 10*time.Millisecond
	config.Data = t.TempDir()
	return config
}

// steady is a machine that never changes. Real yardsticks take a third of a second to measure, and in a span of some clock ticks two that are stolen
// are more than engines may differ by.
var steady = gauge{func(string) (Yardsticks, error) { return Yardsticks{FdatasyncP50: 300, CPULoop: 20}, nil }, nothingStolen}

func nothingStolen(usage, usage) float64 { return 0 }

// once gives a fate to one request and applies the others.
func once(f fate) func(int) fate {
	return func(n int) fate {
		if n == 200 {
			return f
		}
		return fateApplied
	}
}

// every gives a fate to each hundredth request.
func every(f fate) func(int) fate {
	return func(n int) fate {
		if n%100 == 0 {
			return f
		}
		return fateApplied
	}
}

func TestEndCheck(t *testing.T) {
	for _, test := range []struct {
		name  string
		fates func(int) fate
		reads float64
		want  string // part of the output; empty if the check must pass
	}{
		{"nothing happens", every(fateApplied), 0, ""},
		{"busy", every(fateBusy), 0, ""},
		{"refused", every(fateRefused), 0, ""},
		{"unknown and applied", every(fateUnknownApplied), 0, ""},
		{"unknown and lost", every(fateUnknownLost), 0, ""},
		{"unknown and late", every(fateUnknownLate), 0, ""},
		{"reads", every(fateApplied), 0.5, ""},
		{"reads refused", every(fateRefused), 0.5, ""},
		{"reads only", every(fateApplied), 1, ""},
		{"lost", once(fateLost), 0, "was acknowledged and is not in"},
		{"doubled", once(fateDoubled), 0, "came a second time"},
		{"skipped by one replica", once(fateSkippedByOne), 0, "host 2 has"},
		{"damaged", once(fateDamaged), 0, "is damaged"},
		{"stale read", every(fateStale), 0.5, "missed an acknowledged write"},
	} {
		for _, blocking := range []bool{false, true} {
			t.Run(test.name+map[bool]string{true: "/blocking", false: "/async"}[blocking], func(t *testing.T) {
				spantest.Run(t, 60*time.Millisecond, func(span time.Duration) (lacking string) {
					config := tiny(t, "fake")
					config.ReadRatio, config.Blocking, config.Duration = test.reads, blocking, span
					var out strings.Builder
					report, err := runWith(context.Background(), config, []Engine{engineOf("fake", test.fates)}, &out, steady)
					switch {
					case test.want != "" && err == nil:
						return "no fault is found\n" + out.String()
					case test.want != "" && (!errors.Is(err, ErrCheck) || !strings.Contains(out.String(), test.want)):
						t.Fatalf("got %v and no %q in\n%s", err, test.want, out.String())
					case test.want == "" && err != nil:
						t.Fatalf("%v\n%s", err, out.String())
					case test.want == "" && (report.Median.WritesPerSecond == 0 && test.reads < 1 || report.Median.ReadsPerSecond == 0 && test.reads > 0):
						return "nothing is measured\n" + out.String()
					}
					return ""
				})
			})
		}
	}
}

func TestInjectedFaultsAreFound(t *testing.T) {
	for injection, want := range map[Injection]string{
		InjectLose: "was acknowledged and is not in", InjectDouble: "came a second time",
	} {
		for _, blocking := range []bool{false, true} {
			spantest.Run(t, 60*time.Millisecond, func(span time.Duration) (lacking string) {
				config := tiny(t, "fake")
				config.Inject, config.Blocking, config.Duration = injection, blocking, span
				var out strings.Builder
				_, err := runWith(context.Background(), config, []Engine{engineOf("fake", every(fateApplied))}, &out, steady)
				if !errors.Is(err, ErrCheck) || !strings.Contains(out.String(), want) {
					return fmt.Sprintf("%s: got %v and no %q in\n%s", injection, err, want, out.String())
				}
				return ""
			})
		}
	}
}

func TestRequestsWithoutAnAnswerAreReported(t *testing.T) {
	machines := newMachines(1, loadOptions{shards: 1, inFlight: 3})
	cluster := startFake(ClusterOptions{Hosts: 1, Shards: 1, Machine: func(h, s int) *Machine { return machines[h][s] }},
		func(int) fate { return fateSilent })
	l := newLoad(cluster, loadOptions{shards: 1, inFlight: 3, payload: MinPayload})
	l.start()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.stop(ctx); err == nil || !strings.Contains(err.Error(), "3 requests were never answered") {
		t.Fatalf("got %v", err)
	}
	if err := cluster.Close(); err != nil { // answers them, so that nothing leaks
		t.Fatal(err)
	}
}

func TestErrorsAreCountedAndBusyApart(t *testing.T) {
	for fate, want := range map[fate]func(Result) bool{
		fateBusy:        func(r Result) bool { return r.Busy > 0 && r.Errors == 0 },
		fateRefused:     func(r Result) bool { return r.Busy == 0 && r.Errors > 0 },
		fateUnknownLost: func(r Result) bool { return r.Busy == 0 && r.Errors > 0 },
	} {
		spantest.Run(t, 60*time.Millisecond, func(span time.Duration) (lacking string) {
			config := tiny(t, "fake")
			config.Duration = span
			var out strings.Builder
			report, err := runWith(context.Background(), config, []Engine{engineOf("fake", every(fate))}, &out, steady)
			if err != nil {
				t.Fatal(err)
			}
			if !want(report.Median) {
				return fmt.Sprintf("fate %d: errors %g, busy %g", fate, report.Median.Errors, report.Median.Busy)
			}
			return ""
		})
	}
}

func TestEnginesTakeTurns(t *testing.T) {
	config := tiny(t, "a")
	config.Engines, config.Repeat = []string{"a", "b:blocking"}, 2
	config.JSON = filepath.Join(t.TempDir(), "report.json")
	var out strings.Builder
	report, err := runWith(context.Background(), config, []Engine{engineOf("a", every(fateApplied)), engineOf("b", every(fateApplied))}, &out, steady)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, r := range report.Repeats {
		order = append(order, r.Engine)
		if r.Blocking != (r.Engine == "b:blocking") {
			t.Errorf("%s: blocking %v", r.Engine, r.Blocking)
		}
	}
	if want := []string{"a", "b:blocking", "a", "b:blocking"}; !slices.Equal(order, want) {
		t.Fatalf("order %v, want %v", order, want)
	}
	if report.Median.Engine != "a" || len(report.Medians) != 2 || report.Comparison.Ratios["b:blocking"]["seconds"] == 0 {
		t.Fatalf("got %+v", report)
	}
	if _, err := os.Stat(config.JSON); err != nil {
		t.Fatal(err)
	}
}

func TestEnginesOnAMachineThatChangedAreNotCompared(t *testing.T) {
	config := tiny(t, "a")
	config.Engines = []string{"a", "b"}
	for _, text := range []string{"writes_per_second<0*b", "errors==0"} {
		requirement, err := ParseRequirement(text)
		if err != nil {
			t.Fatal(err)
		}
		config.Require = append(config.Require, requirement)
	}
	measured := 0
	slowing := gauge{func(string) (Yardsticks, error) {
		measured++
		return Yardsticks{FdatasyncP50: 300 * float64(measured), CPULoop: 20}, nil
	}, nothingStolen}
	engines := []Engine{engineOf("a", every(fateApplied)), engineOf("b", every(fateApplied))}
	var out strings.Builder
	report, err := runWith(context.Background(), config, engines, &out, slowing)
	if !errors.Is(err, ErrNotComparable) || errors.Is(err, ErrRequirement) {
		t.Fatalf("got %v", err)
	}
	if report.Comparison.Ratios != nil || len(report.Comparison.Refused) != 1 || len(report.Requirements) != 1 {
		t.Fatalf("got %+v and %+v", report.Comparison, report.Requirements)
	}
	for _, want := range []string{"REFUSED", "fdatasync_p50_us moved from 450 to 750", "OPEN    writes_per_second<0*b", "MET     errors==0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestRequirementsEndTheRun(t *testing.T) {
	config := tiny(t, "fake")
	for _, text := range []string{"errors==0", "writes_per_second<0"} {
		requirement, err := ParseRequirement(text)
		if err != nil {
			t.Fatal(err)
		}
		config.Require = append(config.Require, requirement)
	}
	var out strings.Builder
	report, err := runWith(context.Background(), config, []Engine{engineOf("fake", every(fateApplied))}, &out, steady)
	if !errors.Is(err, ErrRequirement) || !strings.Contains(err.Error(), "writes_per_second<0") {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(err.Error(), "errors==0") || len(report.Requirements) != 2 || !report.Requirements[0].Met {
		t.Fatalf("got %v and %+v", err, report.Requirements)
	}
	for _, want := range []string{"MET     errors==0: 0 against 0", "MISSED  writes_per_second<0: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestJSONKeys(t *testing.T) {
	config := tiny(t, "fake")
	config.JSON = filepath.Join(t.TempDir(), "report.json")
	var out strings.Builder
	if _, err := runWith(context.Background(), config, []Engine{engineOf("fake", every(fateApplied))}, &out, steady); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(config.JSON)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Repeats []map[string]any `json:"repeats"`
		Median  map[string]any   `json:"median"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"alloc_bytes_per_op", "allocs_per_op", "batch_size", "blocking", "busy", "cpu_loop_ms", "cpu_seconds_per_million_ops", "disk_bytes_per_op",
		"engine", "errors", "fdatasync_p50_us", "flushes_per_thousand_ops", "fsyncs_per_thousand_ops", "hosts", "in_flight", "leader_changes", "log", "logdb", "other_cpu_percent", "payload",
		"peak_rss_mib", "read_latency_ms", "read_ratio", "reads", "reads_per_second", "seconds", "seed", "shards", "steal_percent", "transport",
		"write_latency_ms", "writes_per_second",
	}
	for _, result := range append(report.Repeats, report.Median) {
		if got := keys(result); !slices.Equal(got, want) {
			t.Errorf("keys %v\nwant %v", got, want)
		}
		for _, name := range []string{"write_latency_ms", "read_latency_ms"} {
			latency, _ := result[name].(map[string]any)
			if got := keys(latency); !slices.Equal(got, []string{"max", "p50", "p99", "p999"}) {
				t.Errorf("%s has %v", name, got)
			}
		}
	}
	if len(report.Repeats) != 1 {
		t.Errorf("%d repeats", len(report.Repeats))
	}
}

func keys(m map[string]any) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func TestDataIsRemovedOrKept(t *testing.T) {
	for _, keep := range []bool{false, true} {
		config := tiny(t, "fake")
		config.Keep = keep
		theirs := filepath.Join(config.Data, "theirs")
		if err := os.WriteFile(theirs, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if _, err := runWith(context.Background(), config, []Engine{engineOf("fake", every(fateApplied))}, &out, steady); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(theirs); err != nil {
			t.Error("what was there before is gone")
		}
		if _, err := os.Stat(filepath.Join(config.Data, "fake-1")); (err == nil) != keep {
			t.Errorf("keep %v: %v", keep, err)
		}
	}
}

func TestCancelledRunEndsAndCleansUp(t *testing.T) {
	config := tiny(t, "fake")
	config.Duration = time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	started := make(chan struct{})
	engine := engineOf("fake", func(n int) fate {
		if n == 100 {
			close(started)
		}
		return fateApplied
	})
	go func() {
		<-started
		cancel()
	}()
	var out strings.Builder
	if _, err := runWith(ctx, config, []Engine{engine}, &out, steady); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if entries, err := os.ReadDir(config.Data); err != nil || len(entries) != 0 {
		t.Fatalf("left behind: %v, %v", entries, err)
	}
}

func TestStartThatFails(t *testing.T) {
	config := tiny(t, "fake")
	engine := Engine{Name: "fake", Start: func(context.Context, ClusterOptions) (Cluster, error) { return nil, errFake }}
	var out strings.Builder
	if _, err := runWith(context.Background(), config, []Engine{engine}, &out, steady); !errors.Is(err, errFake) {
		t.Fatalf("got %v", err)
	}
}

func TestBadConfigurationStartsNothing(t *testing.T) {
	config := tiny(t, "fake")
	config.Hosts = 0
	engine := Engine{Name: "fake", Start: func(context.Context, ClusterOptions) (Cluster, error) {
		t.Error("started")
		return nil, errFake
	}}
	var out strings.Builder
	if _, err := runWith(context.Background(), config, []Engine{engine}, &out, steady); !errors.Is(err, ErrConfig) {
		t.Fatalf("got %v", err)
	}
}
