package comparison

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// Between these lines UpdatePage replaces what a page says of the last run.
const (
	pageBegin = "<!-- comparison: written by the command; edit outside -->"
	pageEnd   = "<!-- comparison: end -->"
)

// WriteMarkdown writes the report as headings of the third level and tables.
func (r *Report) WriteMarkdown(out io.Writer) error {
	w := &page{out: out}
	w.line("%s. Commit `%s`, `%s`, %s to %s UTC.%s", r.Machine, r.Commit, r.Command, r.Began.UTC().Format("2006-01-02 15:04"), r.Ended.UTC().Format("15:04"),
		map[bool]string{true: " A quick run: one short repeat, so figures that differ by less than a third may be equal."}[r.Quick])
	w.line("Medians over the repeats; in brackets the least and the greatest.")
	r.headline(w)
	r.summary(w)
	r.targets(w)
	r.drivers(w)
	r.legend(w)
	for _, c := range r.Cases {
		r.caseTable(w, c)
	}
	return w.err
}

// page remembers the first error of its writer.
type page struct {
	out io.Writer
	err error
}

func (p *page) line(format string, arguments ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, format+"\n", arguments...)
	}
}

func (p *page) row(cells ...string) { p.line("| %s |", strings.Join(cells, " | ")) }

// header begins a table; all columns but the first are aligned to the right.
func (p *page) header(cells ...string) {
	p.line("")
	p.row(cells...)
	p.line("|---|%s", strings.Repeat("--:|", len(cells)-1))
}

// headline is the table for whoever reads only one: Flotilla, the best of Dragonboat, and the limit.
func (r *Report) headline(w *page) {
	w.header("case", "Flotilla, 1/s", "p50 ms", "Dragonboat, best, 1/s", "p50 ms", "times", "limit, 1/s", "of the limit")
	for i := range r.Cases {
		c := &r.Cases[i]
		own := &c.Subjects[0]
		if !strings.HasPrefix(own.Name, Flotilla) || own.Median != nil && own.Median.RefusalNanoseconds > 0 {
			continue
		}
		calls := ""
		if strings.HasSuffix(own.Name, blocking) {
			calls = blocking
		}
		peer, limit := c.subject(Dragonboat+calls), c.subject(Limit+calls)
		w.row(c.Name, rateOf(own), latencyOf(own, p50), rateOf(peer), latencyOf(peer, p50), ratioOf(own, peer, "×"), rateOf(limit), ratioOf(own, limit, "%"))
	}
}

func rateOf(s *SubjectReport) string {
	switch {
	case s == nil:
		return ""
	case s.Unavailable != "":
		return "not available"
	case s.Median == nil:
		return "did not get there"
	default:
		return benchmark.FormatFigure(s.rate())
	}
}

func latencyOf(s *SubjectReport, metric string) string {
	if s == nil || s.Median == nil {
		return ""
	}
	value, _ := s.Median.Figure(metric)
	if value == 0 && s.Median.ReadRatio == 1 {
		return ""
	}
	return benchmark.FormatFigure(value)
}

// ratioOf divides rates, as a multiple or as a percentage. A dagger says that the machine moved between the two.
func ratioOf(own, other *SubjectReport, unit string) string {
	if own == nil || other == nil || own.rate() == 0 || other.rate() == 0 {
		return ""
	}
	ratio := own.rate() / other.rate()
	mark := ""
	if len(benchmark.Moved(own.Median, other.Median)) > 0 {
		mark = " †"
	}
	if unit == "%" {
		return fmt.Sprintf("%.0f %%%s", 100*ratio, mark)
	}
	return fmt.Sprintf("%.3g ×%s", ratio, mark)
}

func (r *Report) targets(w *page) {
	if len(r.Verdicts) == 0 {
		return
	}
	w.line("")
	w.line("### Targets")
	w.header("case", "target", "figure", "bound", "verdict")
	for _, v := range r.Verdicts {
		verdict := v.Verdict
		if v.Verdict == NotComparable {
			verdict += " †"
		}
		against := ""
		if v.Against != "" && v.Verdict != NotMeasured && !strings.Contains(v.Target, v.Against) {
			against = " (" + v.Against + ")"
		}
		figure, bound := benchmark.FormatFigure(v.Figure), benchmark.FormatFigure(v.Bound)
		if v.Verdict == NotMeasured || v.Verdict == PeerFailed {
			bound = ""
		}
		if v.Verdict == NotMeasured {
			figure = ""
		}
		w.row(v.Case, v.Target+against, figure, bound, verdict)
	}
}

// legend explains the marks.
func (r *Report) legend(w *page) {
	moved := slices.ContainsFunc(r.Verdicts, func(v Verdict) bool { return v.Verdict == NotComparable }) ||
		slices.ContainsFunc(r.Drivers, func(c DriverCheck) bool { return c.Verdict != DriverFailed && len(c.Reasons) > 0 })
	if moved {
		w.line("")
		w.line("† The machine's own speed (a sync, a loop, stolen time) moved by more than 15 %% between the two.")
	}
}

// caseTable has a line for each subject of a case.
func (r *Report) caseTable(w *page, c CaseReport) {
	w.line("")
	if m := c.Subjects[0].Median; m != nil && m.RefusalNanoseconds > 0 {
		w.line("### %s", c.Name)
		w.line("")
		w.line("A refusal costs its caller %s ns and %s allocations.", benchmark.FormatFigure(m.RefusalNanoseconds), benchmark.FormatFigure(m.RefusalAllocs))
		r.made(w, c)
		return
	}
	heap := ""
	if c.EqualHeap {
		heap = ", the same memory limit for all"
	}
	w.line("### %s: %s (%.3g s%s)", c.Name, c.Title, c.Seconds, heap)
	w.header("engine", "rate, 1/s", "Flotilla's rate", "p50 ms", "p99", "p99.9", "CPU s/M", "allocs/op", "disk KB/k", "fsyncs/k", "flushes/k", "batch",
		"peak MiB", "leader changes", "errors", "busy")
	own := &c.Subjects[0]
	for i := range c.Subjects {
		s := &c.Subjects[i]
		if s.Median == nil {
			w.row(append([]string{s.Name, rateOf(s)}, make([]string, 14)...)...)
			continue
		}
		least, greatest := s.spread(operations)
		m := s.Median
		rate := fmt.Sprintf("%s (%s to %s)", benchmark.FormatFigure(s.rate()), benchmark.FormatFigure(least), benchmark.FormatFigure(greatest))
		ratio := ""
		if i > 0 {
			ratio = ratioOf(own, s, "×")
		}
		f := benchmark.FormatFigure
		w.row(engineOf(s), rate, ratio, f(m.WriteLatency.P50), f(m.WriteLatency.P99), f(m.WriteLatency.P999), f(m.CPUSecondsPerMillion),
			f(m.AllocsPerOp), f(m.DiskBytesPerOp), counted(m.FsyncsPerThousandOps), counted(m.FlushesPerThousandOps), counted(m.BatchSize), f(m.PeakRSSMiB),
			f(m.LeaderChanges), f(m.Errors), f(m.Busy))
	}
	r.made(w, c)
	r.caseRemarks(w, c)
}

// quietEnough is the share of the processors in percent that others may have while something is measured; the system's own work for the disk is
// part of it.
const quietEnough = 10

// made says when a case was measured, from which commit if it is not the report's, and whether the machine was its own.
func (r *Report) made(w *page, c CaseReport) {
	if c.Began.IsZero() {
		return
	}
	text := fmt.Sprintf("%s to %s UTC.", c.Began.UTC().Format("2006-01-02 15:04"), c.Ended.UTC().Format("15:04"))
	if c.Commit != r.Commit || c.Command != r.Command {
		text += fmt.Sprintf(" Commit `%s`, `%s`.", c.Commit, c.Command)
	}
	if c.Interrupted {
		text += fmt.Sprintf(" Interrupted: not all of %d repeats, and no verdict.", c.Planned)
	}
	most, beside := 0.0, ""
	for i := range c.Subjects {
		if _, others := c.Subjects[i].spread("other_cpu_percent"); others > most {
			most, beside = others, c.Subjects[i].Name
		}
	}
	if most > quietEnough {
		text += fmt.Sprintf(" The machine was not quiet: others had up to %.0f %% of the processors, beside %s.", most, beside)
	}
	w.line("")
	w.line("%s", text)
}

func engineOf(s *SubjectReport) string {
	if s.LogDB != "" && s.LogDB != "none" {
		return s.Name + " (" + s.LogDB + ")"
	}
	return s.Name
}

// counted writes a figure that is 0 where it could not be counted.
func counted(value float64) string {
	if value == 0 {
		return ""
	}
	return benchmark.FormatFigure(value)
}

// caseRemarks says what does not fit the table: reads, open loops, failures.
func (r *Report) caseRemarks(w *page, c CaseReport) {
	for i := range c.Subjects {
		s := &c.Subjects[i]
		if m := s.Median; m != nil && m.ReadRatio > 0 {
			w.line("")
			w.line("%s: %s reads/s, p50 %s ms, p99 %s ms; %s writes/s.", s.Name, benchmark.FormatFigure(m.ReadsPerSecond), benchmark.FormatFigure(m.ReadLatency.P50),
				benchmark.FormatFigure(m.ReadLatency.P99), benchmark.FormatFigure(m.WritesPerSecond))
		}
		if m := s.Median; m != nil && m.OfferedPerSecond > 0 {
			w.line("")
			w.line("%s: %s/s offered, %s/s refused, %s/s not issued for want of clients or time; the client took %.0f %% of the CPU time.", s.Name,
				benchmark.FormatFigure(m.OfferedPerSecond), benchmark.FormatFigure(m.RefusedPerSecond), benchmark.FormatFigure(m.MissedPerSecond), 100*m.ClientCPUShare)
		}
		for _, failure := range append(s.Failures, s.Unavailable) {
			if failure != "" {
				w.line("")
				w.line("%s: %s", s.Name, strings.ReplaceAll(failure, "\n", " "))
			}
		}
	}
}

// UpdatePage replaces what stands between the two marks of a Markdown page by the report.
func (r *Report) UpdatePage(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("comparison: page: %w", err)
	}
	before, rest, found := strings.Cut(string(text), pageBegin)
	_, after, ended := strings.Cut(rest, pageEnd)
	if !found || !ended {
		return fmt.Errorf("%w: %s has no lines %q and %q", errPage, name, pageBegin, pageEnd)
	}
	var table strings.Builder
	if err := r.WriteMarkdown(&table); err != nil {
		return err
	}
	text = []byte(before + pageBegin + "\n" + table.String() + pageEnd + after)
	if err := os.WriteFile(name, text, 0o644); err != nil {
		return fmt.Errorf("comparison: page: %w", err)
	}
	return nil
}
