package profiling

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"time"

	"github.com/google/pprof/profile"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// ErrUnattributed is returned, wrapped, if a breakdown leaves more than MaxUnattributed.
var ErrUnattributed = errors.New("profiling: too much of the profile belongs to no group")

// traceSpan is how much of the second pass is traced: a trace of a busy engine grows by tens of megabytes a second.
const traceSpan = time.Second

// blockRate is the least time in nanoseconds that is always recorded; shorter waits are sampled.
const blockRate = 10_000

// Record makes both passes of a configuration and writes the profiles and the breakdown into the directory.
func Record(ctx context.Context, config benchmark.Config, engines []benchmark.Engine, directory string, out io.Writer) error {
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return fmt.Errorf("profiling: %w", err)
	}
	first := &firstPass{directory: directory}
	config.Observe = first.begin
	report, err := benchmark.Run(ctx, config, engines, out)
	if err = errors.Join(err, first.err); err != nil {
		return err
	}
	second := &secondPass{directory: directory}
	config.Observe = second.begin
	if _, err := benchmark.Run(ctx, config, engines, out); err != nil || second.err != nil {
		return errors.Join(err, second.err)
	}
	return conclude(directory, &report.Median, second.scheduling, out)
}

// conclude groups the CPU profile and writes the text.
func conclude(directory string, result *benchmark.Result, scheduling schedule, out io.Writer) error {
	cpu, err := read(filepath.Join(directory, "cpu.pprof"))
	if err != nil {
		return err
	}
	breakdown := BreakDown(cpu)
	var text bytes.Buffer
	operations := (result.WritesPerSecond + result.ReadsPerSecond) * result.Seconds
	fmt.Fprintf(&text, "%s on %s: %s operations a second, p50 %.2f ms, %.3g allocations an operation\n\n", result.Engine, result.LogDB,
		benchmark.FormatFigure(result.WritesPerSecond+result.ReadsPerSecond), result.WriteLatency.P50, result.AllocsPerOp)
	if err := errors.Join(breakdown.Write(&text, operations, result.CPUSecondsPerMillion*operations/1e6), scheduling.write(&text)); err != nil {
		return err
	}
	fmt.Fprintf(&text, "\ngo tool pprof -top %s/cpu.pprof   (allocs, mutex and block likewise)\ngo tool trace %s/trace.out\n", directory, directory)
	if err := os.WriteFile(filepath.Join(directory, "breakdown.txt"), text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("profiling: %w", err)
	}
	if _, err := out.Write(append([]byte("\n"), text.Bytes()...)); err != nil {
		return err
	}
	if share := breakdown.Unattributed(); share > MaxUnattributed {
		return fmt.Errorf("%w: %.1f %%, at most %.0f %%", ErrUnattributed, 100*share, 100*MaxUnattributed)
	}
	return nil
}

// firstPass takes what costs little.
type firstPass struct {
	directory string
	before    *profile.Profile
	file      *os.File
	err       error
}

func (p *firstPass) begin() (end func()) {
	p.before, p.err = lookup("allocs")
	if p.err == nil {
		p.file, p.err = os.Create(filepath.Join(p.directory, "cpu.pprof"))
	}
	if p.err == nil {
		p.err = pprof.StartCPUProfile(p.file)
	}
	return p.end
}

func (p *firstPass) end() {
	pprof.StopCPUProfile()
	if p.file != nil {
		p.err = errors.Join(p.err, p.file.Close())
	}
	if p.err == nil {
		p.err = writeSince(p.before, "allocs", filepath.Join(p.directory, "allocs.pprof"))
	}
}

// secondPass takes what costs more.
type secondPass struct {
	directory  string
	mutex      *profile.Profile
	block      *profile.Profile
	before     schedule
	scheduling schedule
	traced     chan error
	err        error
}

func (p *secondPass) begin() (end func()) {
	runtime.SetMutexProfileFraction(10)
	runtime.SetBlockProfileRate(blockRate)
	if p.mutex, p.err = lookup("mutex"); p.err == nil {
		p.block, p.err = lookup("block")
	}
	p.before = readSchedule()
	p.traced = make(chan error, 1)
	go func() { p.traced <- traceFor(filepath.Join(p.directory, "trace.out"), traceSpan) }()
	return p.end
}

func (p *secondPass) end() {
	p.scheduling = readSchedule().since(p.before)
	runtime.SetMutexProfileFraction(0)
	runtime.SetBlockProfileRate(0)
	if p.err = errors.Join(p.err, <-p.traced); p.err == nil {
		p.err = errors.Join(writeSince(p.mutex, "mutex", filepath.Join(p.directory, "mutex.pprof")),
			writeSince(p.block, "block", filepath.Join(p.directory, "block.pprof")))
	}
}

func traceFor(name string, span time.Duration) error {
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("profiling: %w", err)
	}
	if err := trace.Start(file); err != nil {
		return errors.Join(fmt.Errorf("profiling: %w", err), file.Close())
	}
	time.Sleep(span)
	trace.Stop()
	return file.Close()
}

// lookup takes one of the runtime's profiles, which count since the start of the process.
func lookup(name string) (*profile.Profile, error) {
	var text bytes.Buffer
	if err := pprof.Lookup(name).WriteTo(&text, 0); err != nil {
		return nil, fmt.Errorf("profiling: %s: %w", name, err)
	}
	p, err := profile.Parse(&text)
	if err != nil {
		return nil, fmt.Errorf("profiling: %s: %w", name, err)
	}
	return p, nil
}

// writeSince writes what one of the runtime's profiles has gained since before.
func writeSince(before *profile.Profile, name, file string) error {
	after, err := lookup(name)
	if err != nil {
		return err
	}
	gained := after
	if len(before.Sample) > 0 && len(after.Sample) > 0 {
		before.Scale(-1)
		if gained, err = profile.Merge([]*profile.Profile{after, before}); err != nil {
			return fmt.Errorf("profiling: %s: %w", name, err)
		}
	}
	out, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("profiling: %w", err)
	}
	return errors.Join(gained.Write(out), out.Close())
}

func read(name string) (*profile.Profile, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("profiling: %w", err)
	}
	defer file.Close()
	p, err := profile.Parse(file)
	if err != nil {
		return nil, fmt.Errorf("profiling: %s: %w", name, err)
	}
	return p, nil
}
