package benchmark

// Figure returns a figure by the name that it has in JSON and in requirements. ok is false if there is none of that name. Besides those
// of Result there is operations_per_second, writes and reads together.
func (r *Result) Figure(name string) (value float64, ok bool) {
	if name == "operations_per_second" {
		return r.WritesPerSecond + r.ReadsPerSecond, true
	}
	m, known := metricNamed(name)
	if !known {
		return 0, false
	}
	return *m.field(r), true
}

// MedianOf takes the median of each figure over the repeats of one engine, at least one; of an even number, the mean of the middle two.
func MedianOf(repeats []Result) Result { return medianOf(repeats) }

// Moved lists the yardsticks that differ by more than 15 % between two results, which are then not to be compared.
func Moved(a, b *Result) []string { return a.yardsticks().moved(b.yardsticks()) }

// FormatFigure writes a number for a reader: whole and grouped by thousands if it is large, else with three digits that count.
func FormatFigure(value float64) string { return figure(value) }
