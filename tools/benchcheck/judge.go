package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"
)

// What is judged, by the unit: a difference has to be certain, and large enough to matter. The bound of the main benchmark is 3 %, but one
// process differs from the next by about that in the layout of its code and memory.
const (
	significance = 0.01
	allowedTime  = 0.05 // of a time, or of memory
	allowedCount = 0    // of a number of allocations
)

// key names a figure of a benchmark.
type key struct{ pkg, name, unit string }

// samples are the figures of one revision.
type samples map[key][]float64

// parse adds a benchmark's output.
func (s samples) parse(output io.Reader, pkg string) error {
	reader := benchfmt.NewReader(output, pkg)
	for reader.Scan() {
		result, ok := reader.Result().(*benchfmt.Result)
		if !ok {
			continue // not a line of results
		}
		for _, value := range result.Values {
			k := key{pkg, string(result.Name.Full()), value.Unit}
			s[k] = append(s[k], value.Value)
		}
	}
	return reader.Err()
}

// measured are the figures of both revisions.
type measured struct{ base, head samples }

// difference is a figure that got worse.
type difference struct {
	key
	base, head, p float64 // medians, and the probability that chance made the difference
}

// String says by how much.
func (d difference) String() string {
	change := "from none"
	if d.base != 0 {
		change = fmt.Sprintf("%+.1f %%", 100*(d.head/d.base-1))
	}
	return fmt.Sprintf("%s %s: %s %s (%.4g to %.4g, p=%.4f)", d.pkg, d.name, d.unit, change, d.base, d.head, d.p)
}

// allowed is how much worse a figure may be; judged is false for units that are not judged.
func allowed(unit string) (share float64, judged bool) {
	switch unit {
	case "sec/op", "B/op", "cpu-sec/op":
		return allowedTime, true
	case "allocs/op":
		return allowedCount, true
	default:
		return 0, false
	}
}

// slower lists what is certainly worse at the head, ordered by package and name.
func (m measured) slower() (found []difference) {
	for _, k := range slices.SortedFunc(maps.Keys(m.head), compareKeys) {
		share, judged := allowed(k.unit)
		if !judged || len(m.base[k]) == 0 {
			continue
		}
		thresholds := benchmath.DefaultThresholds
		thresholds.CompareAlpha = significance
		base, head := benchmath.NewSample(slices.Clone(m.base[k]), &thresholds), benchmath.NewSample(slices.Clone(m.head[k]), &thresholds)
		before, after := median(m.base[k]), median(m.head[k])
		if after <= before*(1+share) {
			continue
		}
		if c := benchmath.AssumeNothing.Compare(base, head); c.P <= significance {
			found = append(found, difference{k, before, after, c.P})
		}
	}
	return found
}

func compareKeys(a, b key) int {
	return cmp.Or(strings.Compare(a.pkg, b.pkg), strings.Compare(a.name, b.name), strings.Compare(a.unit, b.unit))
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// both are the differences of the second list that are in the first, too.
func both(first, second []difference) (confirmed []difference) {
	for _, d := range second {
		if slices.ContainsFunc(first, func(other difference) bool { return other.key == d.key }) {
			confirmed = append(confirmed, d)
		}
	}
	return confirmed
}

// expressionOf selects the benchmarks of the differences, whole families of sub-benchmarks at a time.
func expressionOf(differences []difference) string {
	var names []string
	for _, d := range differences {
		name, _, _ := strings.Cut(d.name, "/")
		if i := strings.LastIndex(name, "-"); i > 0 {
			name = name[:i] // the number of processors
		}
		if name = "^Benchmark" + regexp.QuoteMeta(name) + "$"; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}
