package profiling

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/google/pprof/profile"
)

// MaxUnattributed is the share of the samples that a breakdown may leave without a group.
const MaxUnattributed = 0.05

// Breakdown is a CPU profile by groups.
type Breakdown struct {
	// Total are the CPU seconds that were sampled.
	Total float64
	// Seconds are those of each group; Allocating, those of them spent in making objects; Calls, those of the system calls by who
	// made them.
	Seconds, Allocating, Calls map[string]float64
	// Lost are the innermost functions without a group, by seconds.
	Lost map[string]float64
}

// BreakDown groups the samples of a CPU profile.
func BreakDown(p *profile.Profile) Breakdown {
	b := Breakdown{Seconds: map[string]float64{}, Allocating: map[string]float64{}, Calls: map[string]float64{}, Lost: map[string]float64{}}
	known := rules()
	value := len(p.SampleType) - 1 // CPU nanoseconds stand last
	for _, sample := range p.Sample {
		seconds := float64(sample.Value[value]) / 1e9
		stack := stackOf(sample)
		group, caller, allocates := groupOf(stack, known)
		b.Total += seconds
		b.Seconds[group] += seconds
		if allocates {
			b.Allocating[group] += seconds
		}
		if caller != "" {
			b.Calls[caller] += seconds
		}
		if group == unattributed && len(stack) > 0 {
			b.Lost[stack[0]] += seconds
		}
	}
	return b
}

// stackOf lists a sample's functions, innermost first.
func stackOf(sample *profile.Sample) (stack []string) {
	for _, location := range sample.Location {
		for _, l := range location.Line {
			if l.Function != nil {
				stack = append(stack, l.Function.Name)
			}
		}
	}
	return stack
}

// Unattributed is the share of the samples without a group.
func (b Breakdown) Unattributed() float64 {
	if b.Total == 0 {
		return 0
	}
	return b.Seconds[unattributed] / b.Total
}

// Write prints the breakdown. operations is how many there were while the profile was taken, and used the CPU seconds that the system
// counted, which is more than was sampled: the profiler's signals do not reach all of the kernel.
func (b Breakdown) Write(out io.Writer, operations, used float64) error {
	w := &printer{out: out}
	w.line("%-24s %8s %14s %12s", "", "share", "ns/operation", "allocating")
	row := func(name string, seconds, allocating float64) {
		w.line("%-24s %6.1f %% %14.1f %10.1f %%", name, 100*seconds/max(b.Total, 1e-9), seconds/max(operations, 1)*1e9, 100*allocating/max(b.Total, 1e-9))
	}
	for _, group := range groups() {
		row(group, b.Seconds[group], b.Allocating[group])
		if group == systemCalls {
			for _, caller := range byValue(b.Calls) {
				row("  "+caller, b.Calls[caller], 0)
			}
		}
	}
	w.line("")
	w.line("%.2f CPU seconds were sampled in %.4g operations; the system counted %.2f.", b.Total, operations, used)
	lost := byValue(b.Lost)
	for _, function := range lost[:min(len(lost), 10)] {
		w.line("unattributed: %5.2f %%  %s", 100*b.Lost[function]/max(b.Total, 1e-9), function)
	}
	return w.err
}

// byValue sorts the keys by falling value.
func byValue(of map[string]float64) []string {
	return slices.SortedFunc(maps.Keys(of), func(a, b string) int { return cmp.Or(cmp.Compare(of[b], of[a]), cmp.Compare(a, b)) })
}

// printer remembers the first error of its writer.
type printer struct {
	out io.Writer
	err error
}

func (p *printer) line(format string, arguments ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, format+"\n", arguments...)
	}
}
