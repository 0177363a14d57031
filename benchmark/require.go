package benchmark

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// ErrRequirement is returned, wrapped, if a figure missed what was required of it.
var ErrRequirement = errors.New("benchmark: requirement missed")

// errExpression is what every fault of a requirement's text wraps.
var errExpression = errors.New("want METRIC OPERATOR NUMBER, METRIC OPERATOR ENGINE or METRIC OPERATOR NUMBER*ENGINE, " +
	"with an operator of <=, >=, ==, !=, < and >")

// Requirement is a target for a figure of the first engine of a run: a number, or a multiple of the same figure of another engine.
//
//	writes_per_second>=0.25*limit
//	write_latency_ms.p50<=4*limit
//	errors==0
type Requirement struct {
	// Metric is the name of a figure in Result's JSON, a figure of a latency joined with a dot.
	Metric string
	// Operator is one of <=, >=, ==, !=, < and >.
	Operator string
	// Factor is the number on the right.
	Factor float64
	// Engine is what the factor multiplies the figure of; empty if the number stands alone.
	Engine string
}

// Operators, those of two characters first, since a prefix of each is another.
var operators = [...]string{"<=", ">=", "==", "!=", "<", ">"}

// ParseRequirement reads a requirement. Blanks between the parts do not matter.
func ParseRequirement(text string) (Requirement, error) {
	at := strings.IndexAny(text, "<>=!")
	if at < 0 {
		return Requirement{}, fmt.Errorf("no operator: %w", errExpression)
	}
	r := Requirement{Metric: strings.TrimSpace(text[:at]), Factor: 1}
	for _, operator := range operators {
		if strings.HasPrefix(text[at:], operator) {
			r.Operator = operator
			break
		}
	}
	if r.Operator == "" {
		return Requirement{}, fmt.Errorf("unknown operator at %q: %w", text[at:], errExpression)
	}
	if metricOf(r.Metric) == "" {
		return Requirement{}, fmt.Errorf("unknown metric %q (there are %s): %w", r.Metric, metricNames(), errExpression)
	}
	if err := r.parseRight(text[at+len(r.Operator):]); err != nil {
		return Requirement{}, err
	}
	return r, nil
}

func (r *Requirement) parseRight(text string) error {
	left, right, product := strings.Cut(text, "*")
	left, right = strings.TrimSpace(left), strings.TrimSpace(right)
	factor, err := strconv.ParseFloat(left, 64)
	switch {
	case err == nil && (math.IsNaN(factor) || math.IsInf(factor, 0)):
		return fmt.Errorf("%q is no finite number: %w", left, errExpression)
	case err == nil:
		r.Factor = factor
	case product:
		return fmt.Errorf("%q is no number: %w", left, errExpression)
	default:
		right = left
	}
	if err == nil && !product {
		return nil
	}
	if !validLabel(right) {
		return fmt.Errorf("%q is no engine: %w", right, errExpression)
	}
	r.Engine = right
	return nil
}

// validLabel says whether a text has the form of an engine's name, with or without a suffix.
func validLabel(text string) bool {
	if text == "" || text[0] < 'a' || text[0] > 'z' {
		return false
	}
	for _, c := range text {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != ':' && c != '_' {
			return false
		}
	}
	return true
}

func metricNames() string {
	var names []string
	for _, m := range metrics() {
		names = append(names, m.name)
	}
	failover, _ := failoverMetrics()
	names = append(append(names, failover...), SlowFollowerMetrics()...)
	return strings.Join(names, ", ")
}

// String returns the requirement in the form that ParseRequirement reads.
func (r Requirement) String() string {
	right := strconv.FormatFloat(r.Factor, 'g', -1, 64)
	if r.Engine != "" {
		right += "*" + r.Engine
	}
	return r.Metric + r.Operator + right
}

// Verdict is a requirement held against the medians.
type Verdict struct {
	Requirement string  `json:"requirement"`
	Figure      float64 `json:"figure"`
	Bound       float64 `json:"bound"`
	Met         bool    `json:"met"`
}

// judge holds the requirement against the medians by label; the first is the one under test.
func (r Requirement) judge(medians []Result) Verdict {
	m, known := metricNamed(r.Metric)
	if !known { // checkWorkload has refused it
		return Verdict{Requirement: r.String()}
	}
	right := 1.0
	for i := range medians {
		if r.Engine == medians[i].Engine {
			right = *m.field(&medians[i])
		}
	}
	return r.Judge(*m.field(&medians[0]), right)
}

// Judge holds a figure against the requirement; right is what its factor multiplies, 1 where the number stands alone.
func (r Requirement) Judge(figure, right float64) Verdict {
	bound := r.Factor * right
	verdict := Verdict{Requirement: r.String(), Figure: figure, Bound: bound}
	switch r.Operator {
	case "<=":
		verdict.Met = figure <= bound
	case ">=":
		verdict.Met = figure >= bound
	case "==":
		verdict.Met = figure == bound
	case "!=":
		verdict.Met = figure != bound
	case "<":
		verdict.Met = figure < bound
	case ">":
		verdict.Met = figure > bound
	}
	return verdict
}

// JudgeAll holds requirements against the figures of one run and prints each verdict. figure returns a figure and what a factor multiplies, 1
// where the number stands alone. The error is ErrRequirement if one was missed, or that of figure.
func JudgeAll(requirements []Requirement, figure func(Requirement) (value, right float64, err error), out io.Writer) ([]Verdict, error) {
	var verdicts []Verdict
	var missed []string
	for _, requirement := range requirements {
		value, right, err := figure(requirement)
		if err != nil {
			return verdicts, err
		}
		verdict := requirement.Judge(value, right)
		verdicts = append(verdicts, verdict)
		word := "MET    "
		if !verdict.Met {
			word = "MISSED "
			missed = append(missed, verdict.Requirement)
		}
		fmt.Fprintf(out, "%s %s (%.4g, bound %.4g)\n", word, verdict.Requirement, verdict.Figure, verdict.Bound)
	}
	if len(missed) > 0 {
		return verdicts, fmt.Errorf("%w: %s", ErrRequirement, strings.Join(missed, ", "))
	}
	return verdicts, nil
}
