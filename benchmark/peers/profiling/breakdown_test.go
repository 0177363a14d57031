package profiling

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/benchmark/flotilla"
)

// TestStacksAreAttributed has a stack of each kind, innermost frame first.
func TestStacksAreAttributed(t *testing.T) {
	const syscall6 = "internal/runtime/syscall/linux.Syscall6"
	worker := []string{module + "engine.(*StepWorker).RunOnce", module + "engine.loop"}
	applying := []string{module + "engine.(*applyWorker).RunOnce", module + "engine.loop"}
	for _, test := range []struct {
		stack         []string
		group, caller string
	}{
		{append([]string{"runtime.memmove", module + "raft.(*Core).Step"}, worker...), step, ""},
		{append([]string{"runtime.memmove", module + "engine.(*Replica).advance"}, worker...), step, ""},
		{append([]string{module + "raftpb.CheckBatch", module + "transport/tcp.(*lane).read"}, "runtime.goexit"), transport, ""},
		{append([]string{module + "benchmark.(*Machine).Apply", module + "benchmark.machineAdapter.Update", module + "rsm.(*Manager).Apply"}, applying...), apply, ""},
		{append([]string{module + "benchmark.(*client).done", module + "engine.(*Replica).complete"}, applying...), client, ""},
		{append([]string{"sync.(*Mutex).Lock", module + "engine.(*Replica).Propose", module + "nodehost.(*Shard).ProposeAsync",
			module + "benchmark.(*client).issue"}, applying...), client, ""},
		{[]string{syscall6, "syscall.Pwrite", module + "plugin/seglog.(*Store).commit", module + "engine.(*logWriter).RunOnce"}, systemCalls, logWriter},
		{[]string{syscall6, "syscall.Read", module + "transport/tcp.(*lane).read"}, systemCalls, transport},
		{[]string{syscall6, "internal/runtime/syscall/linux.EpollWait", "runtime.netpoll", "runtime.findRunnable", "runtime.schedule"}, scheduler, ""},
		{append([]string{"runtime.futex", "runtime.wakep", "runtime.ready"}, worker...), scheduler, ""},
		{append([]string{"runtime.scanobject", "runtime.gcAssistAlloc", "runtime.mallocgc"}, worker...), collector, ""},
		{[]string{"runtime.memclrNoHeapPointers", "github.com/cockroachdb/pebble/v2.(*DB).Apply"}, logWriter, ""},
		{[]string{"example.org/other.Function"}, unattributed, ""},
		{[]string{module + "benchmark/limit.(*log).commit"}, logWriter, ""},
		{nil, unattributed, ""},
	} {
		group, caller, allocates := groupOf(test.stack, rules())
		if group != test.group || caller != test.caller {
			t.Errorf("%v is %q of %q, want %q of %q", test.stack, group, caller, test.group, test.caller)
		}
		if want := strings.Contains(strings.Join(test.stack, " "), "mallocgc"); allocates != want {
			t.Errorf("%v allocates: %t", test.stack, allocates)
		}
	}
}

// profileOf makes a profile of stacks that each took so many milliseconds.
func profileOf(stacks map[string]int64) *profile.Profile {
	p := &profile.Profile{SampleType: []*profile.ValueType{{Type: "samples"}, {Type: "cpu", Unit: "nanoseconds"}}}
	for stack, milliseconds := range stacks {
		sample := &profile.Sample{Value: []int64{1, milliseconds * 1e6}}
		for _, name := range strings.Split(stack, ";") {
			f := &profile.Function{ID: uint64(len(p.Function) + 1), Name: name}
			l := &profile.Location{ID: f.ID, Line: []profile.Line{{Function: f}}}
			p.Function, p.Location = append(p.Function, f), append(p.Location, l)
			sample.Location = append(sample.Location, l)
		}
		p.Sample = append(p.Sample, sample)
	}
	return p
}

func TestBreakdown(t *testing.T) {
	b := BreakDown(profileOf(map[string]int64{
		"runtime.memmove;" + module + "raft.(*Core).Step":                                 600,
		"runtime.mallocgc;" + module + "rsm.(*Manager).Apply":                             200,
		"internal/runtime/syscall/linux.Syscall6;" + module + "transport/tcp.(*lane).run": 100,
		"example.org/one.F": 60, "example.org/two.F": 40,
	}))
	if math.Abs(b.Total-1) > 1e-9 || math.Abs(b.Unattributed()-0.1) > 1e-9 {
		t.Errorf("%g s, %g unattributed", b.Total, b.Unattributed())
	}
	var out strings.Builder
	if err := b.Write(&out, 1e6, 1.25); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"step                       60.0 %          600.0        0.0 %",
		"apply                      20.0 %          200.0       20.0 %",
		"system calls               10.0 %          100.0        0.0 %",
		"  transport                10.0 %          100.0        0.0 %",
		"unattributed               10.0 %          100.0        0.0 %",
		"1.00 CPU seconds were sampled in 1e+06 operations; the system counted 1.25.",
		"unattributed:  6.00 %  example.org/one.F",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("there is no %q in\n%s", line, out.String())
		}
	}
	if (Breakdown{}).Unattributed() != 0 {
		t.Error("of nothing, something is unattributed")
	}
	if err := b.Write(brokenWriter{}, 1, 1); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestHistogram(t *testing.T) {
	h := histogram{[]uint64{2, 96, 2}, []float64{0, 1, 2, 4}}
	for share, want := range map[float64]float64{0.01: 1, 0.5: 2, 0.98: 2, 0.99: 4} {
		if got := h.quantile(share); got != want {
			t.Errorf("the %g quantile is %g, want %g", share, got, want)
		}
	}
	if got := h.since(h); got.total() != 0 || got.quantile(0.5) != 1 {
		t.Errorf("got %v, %g", got, got.quantile(0.5))
	}
	before := readSchedule()
	if gained := readSchedule().since(before); len(gained.classes) != len(classMetrics()) || len(gained.waits.counts) == 0 {
		t.Errorf("the runtime tells %+v", gained)
	}
}

// TestRecord takes every profile of a short run.
func TestRecord(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real hosts")
	}
	config := benchmark.DefaultConfig("flotilla")
	config.Shards, config.InFlight = 2, 200
	config.Warmup, config.Duration, config.Data = 50*time.Millisecond, 500*time.Millisecond, t.TempDir()
	directory := filepath.Join(t.TempDir(), "profiles")
	var out strings.Builder
	err := Record(context.Background(), config, []benchmark.Engine{flotilla.Engine()}, directory, &out)
	if err != nil && !errors.Is(err, ErrUnattributed) { // half a second has few samples
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, name := range []string{"cpu.pprof", "allocs.pprof", "mutex.pprof", "block.pprof", "trace.out", "breakdown.txt"} {
		if info, err := os.Stat(filepath.Join(directory, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !strings.Contains(out.String(), "unattributed") {
		t.Errorf("no breakdown in\n%s", out.String())
	}
}
