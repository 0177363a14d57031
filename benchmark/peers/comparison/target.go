package comparison

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// The figures that most targets are about.
const (
	rate       = "writes_per_second"
	operations = "operations_per_second"
	p50        = "write_latency_ms.p50"
	cpu        = "cpu_seconds_per_million_ops"
)

// Target bounds a median of the first subject of a case, which is Flotilla.
type Target struct {
	// Case is whose figure is bounded; Metric is the figure's name.
	Case, Metric string
	// AtLeast is true for a lower bound.
	AtLeast bool
	// Factor multiplies the same figure of the subject Against in the case AgainstCase, by default the same one; without a
	// subject it is the bound. Plus is added.
	Factor      float64
	Against     string
	AgainstCase string
	Plus        float64
}

func atLeast(name, metric string, factor float64, against string) Target {
	return Target{Case: name, Metric: metric, AtLeast: true, Factor: factor, Against: against}
}

func atMost(name, metric string, factor float64, against string) Target {
	return Target{Case: name, Metric: metric, Factor: factor, Against: against}
}

func ofCase(t Target, name string) Target {
	t.AgainstCase = name
	return t
}

func plus(t Target, addend float64) Target {
	t.Plus = addend
	return t
}

// commonTargets hold in every case that Flotilla is in.
func commonTargets(name string) []Target {
	return []Target{atMost(name, "errors", 0, ""), atMost(name, "leader_changes", 0, "")}
}

// String writes the target as a reader would.
func (t Target) String() string {
	relation := "<="
	if t.AtLeast {
		relation = ">="
	}
	right := benchmark.FormatFigure(t.Factor)
	if t.Against != "" {
		right += " x " + t.Against
	}
	if t.AgainstCase != "" {
		right += " in " + t.AgainstCase
	}
	if t.Plus != 0 {
		right += " + " + benchmark.FormatFigure(t.Plus)
	}
	return fmt.Sprintf("%s %s %s", t.Metric, relation, right)
}

// The verdicts.
const (
	Met           = "met"
	Missed        = "missed"
	NotComparable = "not comparable" // the machine moved between the two
	NotMeasured   = "not measured"   // one of the two has no figure
	PeerFailed    = "met: the other did not get there"
)

// Verdict is a target held against what was measured.
type Verdict struct {
	Row     string  `json:"row"`
	Case    string  `json:"case"`
	Target  string  `json:"target"`
	Metric  string  `json:"metric"`
	AtLeast bool    `json:"at_least,omitempty"`
	Figure  float64 `json:"figure"`
	Bound   float64 `json:"bound"`
	// Ratio is the figure divided by that of Against, Wanted what it has to be; 0 if the target is no bare ratio.
	Ratio   float64 `json:"ratio,omitempty"`
	Wanted  float64 `json:"wanted,omitempty"`
	Verdict string  `json:"verdict"`
	// Against is the subject that was compared with, where the target leaves a choice.
	Against string `json:"against,omitempty"`
	// Reasons say what moved.
	Reasons []string `json:"reasons,omitempty"`
}

// judge holds a target against the report.
func (r *Report) judge(row string, t Target) Verdict {
	v := Verdict{Row: row, Case: t.Case, Target: t.String(), Metric: t.Metric, AtLeast: t.AtLeast, Verdict: NotMeasured, Against: t.Against}
	measured := r.measuredCase(t.Case)
	if measured == nil || len(measured.Subjects) == 0 {
		return v
	}
	own := measured.Subjects[0].Median
	if own == nil {
		if measured.Subjects[0].Unavailable == "" {
			v.Verdict = Missed // Flotilla itself did not get there
		}
		return v
	}
	v.Figure, _ = own.Figure(t.Metric)
	if !t.AtLeast && t.Factor+t.Plus == 0 {
		_, v.Figure = measured.Subjects[0].spread(t.Metric) // what must not be at all must not be in any repeat
	}
	v.Bound = t.Factor + t.Plus
	if t.Against != "" {
		other := measured
		if t.AgainstCase != "" {
			other = r.measuredCase(t.AgainstCase)
		}
		subject := other.subject(t.Against)
		switch {
		case subject == nil:
			return v
		case subject.Median == nil:
			v.Verdict, v.Against = PeerFailed, subject.Name
			return v
		}
		figure, _ := subject.Median.Figure(t.Metric)
		v.Bound, v.Against = t.Factor*figure+t.Plus, subject.Name
		if figure > 0 && t.Plus == 0 {
			v.Ratio, v.Wanted = v.Figure/figure, t.Factor
		}
		if v.Reasons = benchmark.Moved(own, subject.Median); len(v.Reasons) > 0 {
			v.Verdict = NotComparable
			return v
		}
	}
	v.Verdict = Missed
	if t.AtLeast && v.Figure >= v.Bound || !t.AtLeast && v.Figure <= v.Bound {
		v.Verdict = Met
	}
	return v
}

// subject finds a subject by its name, or, for a peer with several configurations, the one with the highest rate. One that failed is only
// returned if all of them did.
func (c *CaseReport) subject(name string) *SubjectReport {
	if c == nil {
		return nil
	}
	plain, calls := name, ""
	if before, found := strings.CutSuffix(name, blocking); found {
		plain, calls = before, blocking
	}
	var best *SubjectReport
	for i := range c.Subjects {
		s := &c.Subjects[i]
		if s.Name != name && (plain != Dragonboat || !strings.HasPrefix(s.Name, Dragonboat) || strings.HasSuffix(s.Name, blocking) != (calls != "")) {
			continue
		}
		if best == nil || best.Median == nil || s.Median != nil && s.rate() > best.rate() {
			best = s
		}
	}
	return best
}

// rate is the subject's operations a second.
func (s *SubjectReport) rate() float64 {
	if s.Median == nil {
		return 0
	}
	return s.Median.WritesPerSecond + s.Median.ReadsPerSecond
}

// Judge holds every target of the rows that ran, wholly or in part, against the report. What a quick run leaves out is left out.
func (r *Report) Judge(rows []Row) {
	r.checkDrivers()
	r.Verdicts = nil
	for _, row := range rows {
		if !slices.ContainsFunc(row.Cases, func(c Case) bool { return r.caseNamed(c.Name) != nil }) {
			continue
		}
		for _, target := range row.Targets {
			i := slices.IndexFunc(row.Cases, func(c Case) bool { return c.Name == target.Case })
			if r.caseNamed(target.Case) != nil || !(r.Quick && row.Cases[i].FullOnly) {
				r.Verdicts = append(r.Verdicts, r.judge(row.Name, target))
			}
		}
		for _, c := range row.Cases {
			if measured := r.caseNamed(c.Name); measured != nil && strings.HasPrefix(c.Subjects[0], Flotilla) {
				for _, target := range commonTargets(c.Name) {
					r.Verdicts = append(r.Verdicts, r.judge(row.Name, target))
				}
			}
		}
	}
}

// Missed counts the targets that were missed.
func (r *Report) Missed() (count int) {
	for _, v := range r.Verdicts {
		if v.Verdict == Missed {
			count++
		}
	}
	return count
}
