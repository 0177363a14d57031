package comparison

import (
	"slices"
	"testing"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// TestExpectationsAreOfCasesThatRun: what is expected is measured, with the limit beside it.
func TestExpectationsAreOfCasesThatRun(t *testing.T) {
	cases := map[string]Case{}
	for _, row := range Rows() {
		for _, c := range row.Cases {
			cases[c.Name] = c
		}
	}
	for _, e := range expectations() {
		limitCase := e.Case
		if e.LimitCase != "" {
			limitCase = e.LimitCase
		}
		if !slices.Contains(cases[e.Case].Subjects, e.Subject) || !slices.Contains(cases[limitCase].Subjects, Limit) {
			t.Errorf("%s is not measured in %s, or the limit not in %s", e.Subject, e.Case, limitCase)
		}
		var result benchmark.Result
		if _, known := result.Figure(e.Metric); !known || e.Peer <= 0 || e.Limit <= 0 {
			t.Errorf("nothing is expected: %+v", e)
		}
	}
}

func TestDriversAreChecked(t *testing.T) {
	result := func(rate, latency, sync float64) *benchmark.Result {
		return &benchmark.Result{WritesPerSecond: rate, WriteLatency: benchmark.Latency{P50: latency}, YardstickFdatasyncP50: sync, YardstickCPULoop: 20}
	}
	subject := func(name string, median *benchmark.Result) SubjectReport {
		return SubjectReport{Name: name, Median: median}
	}
	r := &Report{Cases: []CaseReport{
		{Row: "P3", Name: "P3", Subjects: []SubjectReport{
			subject(Flotilla, result(2e6, 1, 100)), subject(Limit, result(2e6, 1, 100)),
			subject(Dragonboat, result(0.12*2e6, 1, 100)), subject(dragonboatDefault, result(0.09*2e6, 1, 100)),
			subject(dragonboatTan, result(0.1*2e6, 1, 200)), {Name: Hashicorp, Failures: []string{"it died"}},
		}},
		{Row: "P8", Name: "P8", Subjects: []SubjectReport{
			subject(Flotilla, result(1, 0.5, 100)), subject(Limit, result(1, 0.5, 100)), subject(Hashicorp, result(1, 1, 100)), subject(dragonboatTan, result(1, 3, 100)), // expected are 3.7 times the limit's latency
		}},
		{Row: "P4", Name: "P4", Interrupted: true, Subjects: []SubjectReport{subject(Limit, result(1, 1, 1)), subject(Dragonboat, result(1, 1, 1))}},
	}}
	r.Judge(Rows())
	got := map[string]string{}
	for _, check := range r.Drivers {
		got[check.Case+" "+check.Subject] = check.Verdict
	}
	for name, want := range map[string]string{
		"P3 dragonboat": DriverOK, "P3 dragonboat-default": DriverShort, "P3 dragonboat-tan": NotComparable, "P3 hashicorp": DriverFailed,
		"P8 hashicorp": DriverOK, "P8 dragonboat-tan": DriverShort, "P4 dragonboat": "",
	} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
}
