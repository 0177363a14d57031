package comparison

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// RowVerdict sums up the targets of a row.
const (
	rowMet    = "met"
	rowNotMet = "not met"
	rowOpen   = "open"
)

// rowVerdict is met if all targets of the row are, not met if one is missed, and open if one could not be judged.
func (r *Report) rowVerdict(row string) (verdict string, missed, open int) {
	for _, v := range r.Verdicts {
		if v.Row != row {
			continue
		}
		switch v.Verdict {
		case Missed:
			missed++
		case NotComparable, NotMeasured:
			open++
		}
	}
	switch {
	case missed > 0:
		return fmt.Sprintf("%s (%d)", rowNotMet, missed), missed, open
	case open > 0:
		return fmt.Sprintf("%s (%d)", rowOpen, open), missed, open
	}
	return rowMet, missed, open
}

// summary is one line for each row with targets: what was reached and, in brackets, what is asked for.
func (r *Report) summary(w *page) {
	var rows []string
	for _, v := range r.Verdicts {
		if !slices.Contains(rows, v.Row) {
			rows = append(rows, v.Row)
		}
	}
	if len(rows) == 0 {
		return
	}
	w.line("")
	w.line("### Rows")
	w.header("row", "against Dragonboat", "against the limit", "and", "verdict")
	for _, row := range rows {
		var peer, limit, others []string
		for _, v := range r.Verdicts {
			if v.Row != row || v.common() && v.Verdict != Missed {
				continue
			}
			switch against := strings.TrimSuffix(v.Against, blocking); {
			case strings.HasPrefix(against, Dragonboat):
				peer = append(peer, v.brief())
			case strings.HasPrefix(against, Limit):
				limit = append(limit, v.brief())
			default:
				others = append(others, v.brief())
			}
		}
		verdict, _, _ := r.rowVerdict(row)
		w.row(row, strings.Join(peer, "; "), strings.Join(limit, "; "), strings.Join(others, "; "), verdict)
	}
}

// common reports whether a target is one of those that hold in every case.
func (v *Verdict) common() bool {
	return slices.ContainsFunc(commonTargets(v.Case), func(t Target) bool { return t.String() == v.Target })
}

// brief writes a verdict for the summary, as "rate 21 × (≥ 13 ×)".
func (v *Verdict) brief() string {
	name := v.Metric
	switch v.Metric {
	case rate, operations:
		name = "rate"
	case p50:
		name = "p50"
	case "write_latency_ms.p99":
		name = "p99 ms"
	case cpu:
		name = "CPU s/M"
	}
	if v.Case != v.Row {
		name = strings.TrimPrefix(v.Case, v.Row+"/") + ": " + name
	}
	if against := v.Against; against != "" && !strings.HasPrefix(against, Dragonboat) && !strings.HasPrefix(against, Limit) {
		name += " to " + against
	}
	mark := map[string]string{Missed: " ✗", NotComparable: " †"}[v.Verdict]
	relation := "≤"
	if v.AtLeast {
		relation = "≥"
	}
	figure, bound := benchmark.FormatFigure(v.Figure), benchmark.FormatFigure(v.Bound)
	if v.Ratio != 0 {
		figure, bound = fmt.Sprintf("%.3g ×", v.Ratio), fmt.Sprintf("%.3g ×", v.Wanted)
	}
	switch v.Verdict {
	case PeerFailed:
		return name + ": it did not get there"
	case NotMeasured:
		return name + " not measured"
	}
	return fmt.Sprintf("%s %s (%s %s)%s", name, figure, relation, bound, mark)
}
