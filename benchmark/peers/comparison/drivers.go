package comparison

import (
	"github.com/flotilla-raft/flotilla/benchmark"
)

// expectation is what another engine reached beside the limit when a program of its own, not this harness, drove it: on two cores, with the
// configuration that its driver has here. A driver that gets much less out of its engine is at fault, and no ratio to that engine can be
// believed.
//
// The figures behind the ratios, in operations a second or milliseconds, engine and limit (the middle of its range):
//
//	48 shards, 10,000 in flight       189 k, 125 k by default, 96 k on tan      4.8 M
//	48 shards, 90,000 in flight       317 k, 337 k by default, 346 k on tan     11.6 M
//	one shard, 2,000 in flight        215 k, 214 k by default, 346 k on tan, hashicorp/raft 61.8 k      1.6 M
//	1,024 shards                      34 k      1.4 M
//	128 B, 30,000 in flight           188 k, 182 k on tan      1.25 M
//	1 KiB, 30,000 in flight           60.8 k, 76.4 k on tan    133 k
//	nine reads to a write, 30,000     756 k operations         4.8 M writes with 10,000 in flight
//	one at a time, p50                1.39 by default, 1.75 on tan, hashicorp/raft 0.88      0.47
//	10,000 blocking callers           54 k, 14 k on tan        4.8 M
type expectation struct {
	Case, Subject, Metric string
	// Peer and Limit are the two figures; only their ratio counts.
	Peer, Limit float64
	// LimitCase is the case of the limit's figure, if not the same.
	LimitCase string
}

// driverShare is how much of the expected ratio a driver has to reach.
const driverShare = 0.8

func expectations() []expectation {
	const p1Limit, p2Limit, p3Limit = 4.8e6, 11.6e6, 1.6e6
	return []expectation{
		{Case: "P1", Subject: Dragonboat, Metric: rate, Peer: 189e3, Limit: p1Limit},
		{Case: "P1", Subject: dragonboatDefault, Metric: rate, Peer: 124.7e3, Limit: p1Limit},
		{Case: "P1", Subject: dragonboatTan, Metric: rate, Peer: 95.9e3, Limit: p1Limit},
		{Case: "P2", Subject: Dragonboat, Metric: rate, Peer: 317e3, Limit: p2Limit},
		{Case: "P2", Subject: dragonboatDefault, Metric: rate, Peer: 337e3, Limit: p2Limit},
		{Case: "P2", Subject: dragonboatTan, Metric: rate, Peer: 346e3, Limit: p2Limit},
		{Case: "P3", Subject: Dragonboat, Metric: rate, Peer: 215e3, Limit: p3Limit},
		{Case: "P3", Subject: dragonboatDefault, Metric: rate, Peer: 214e3, Limit: p3Limit},
		{Case: "P3", Subject: dragonboatTan, Metric: rate, Peer: 346e3, Limit: p3Limit},
		{Case: "P3", Subject: Hashicorp, Metric: rate, Peer: 61.8e3, Limit: p3Limit},
		{Case: "P4", Subject: Dragonboat, Metric: rate, Peer: 34e3, Limit: 1.4e6},
		{Case: "P6/128 B", Subject: Dragonboat, Metric: rate, Peer: 188e3, Limit: 1.25e6},
		{Case: "P6/128 B", Subject: dragonboatTan, Metric: rate, Peer: 182e3, Limit: 1.25e6},
		{Case: "P6/1 KiB", Subject: Dragonboat, Metric: rate, Peer: 60.8e3, Limit: 133e3},
		{Case: "P6/1 KiB", Subject: dragonboatTan, Metric: rate, Peer: 76.4e3, Limit: 133e3},
		{Case: "P7/index", Subject: Dragonboat, Metric: operations, Peer: 756e3, Limit: p1Limit, LimitCase: "P1"},
		{Case: "P8", Subject: dragonboatDefault, Metric: p50, Peer: 1.39, Limit: 0.47},
		{Case: "P8", Subject: dragonboatTan, Metric: p50, Peer: 1.75, Limit: 0.47},
		{Case: "P8", Subject: Hashicorp, Metric: p50, Peer: 0.88, Limit: 0.47},
		{Case: "P11", Subject: Dragonboat + blocking, Metric: rate, Peer: 54e3, Limit: p1Limit},
		{Case: "P11", Subject: dragonboatTan + blocking, Metric: rate, Peer: 14e3, Limit: p1Limit},
	}
}

// The verdicts on drivers, besides NotComparable.
const (
	DriverOK     = "ok"
	DriverShort  = "short"
	DriverFailed = "failed"
)

// DriverCheck holds another engine's figure, divided by the limit's of the same run, against what is expected of it.
type DriverCheck struct {
	Case    string `json:"case"`
	Subject string `json:"subject"`
	Metric  string `json:"metric"`
	// Ratio is that of this run, Expected that of the other program; for a latency less is better.
	Ratio    float64 `json:"ratio"`
	Expected float64 `json:"expected"`
	Verdict  string  `json:"verdict"`
	// Reasons say what moved, or what failed.
	Reasons []string `json:"reasons,omitempty"`
}

// checkDrivers judges the drivers of every case that was measured with the limit beside it.
func (r *Report) checkDrivers() {
	r.Drivers = nil
	for _, e := range expectations() {
		if e.LimitCase == "" {
			e.LimitCase = e.Case
		}
		measured, beside := r.measuredCase(e.Case), r.measuredCase(e.LimitCase)
		if measured == nil || beside == nil {
			continue
		}
		peer, limit := measured.exactly(e.Subject), beside.exactly(Limit)
		if peer == nil || limit == nil || limit.Median == nil {
			continue
		}
		r.Drivers = append(r.Drivers, e.judge(peer, limit.Median))
	}
}

func (e expectation) judge(peer *SubjectReport, limit *benchmark.Result) DriverCheck {
	check := DriverCheck{Case: e.Case, Subject: e.Subject, Metric: e.Metric, Expected: e.Peer / e.Limit, Verdict: DriverFailed}
	if peer.Median == nil {
		check.Reasons = append(append(check.Reasons, peer.Failures...), peer.Unavailable)
		return check
	}
	figure, _ := peer.Median.Figure(e.Metric)
	besides := e.Metric
	if besides == operations {
		besides = rate // the limit serves no reads
	}
	divisor, _ := limit.Figure(besides)
	check.Ratio = figure / max(divisor, 1e-9)
	enough := check.Ratio >= driverShare*check.Expected
	if e.Metric == p50 {
		enough = check.Ratio <= check.Expected/driverShare
	}
	check.Reasons = benchmark.Moved(peer.Median, limit)
	switch {
	case enough:
		check.Verdict = DriverOK
	case len(check.Reasons) > 0:
		check.Verdict = NotComparable
	default:
		check.Verdict = DriverShort
	}
	return check
}

// exactly finds a subject by its very name.
func (c *CaseReport) exactly(name string) *SubjectReport {
	for i := range c.Subjects {
		if c.Subjects[i].Name == name {
			return &c.Subjects[i]
		}
	}
	return nil
}

// drivers is the table of the checks.
func (r *Report) drivers(w *page) {
	if len(r.Drivers) == 0 {
		return
	}
	w.line("")
	w.line("### Drivers of the other engines")
	w.line("")
	w.line("Each engine's rate, or median latency, divided by the limit's, and what a program of its own had found for the same load and configuration. "+
		"A driver that reaches less than %.0f %% of it would be at fault.", 100*driverShare)
	w.header("case", "engine", "figure", "of the limit's", "expected", "verdict")
	for _, check := range r.Drivers {
		ratio := benchmark.FormatFigure(check.Ratio)
		if check.Verdict == DriverFailed {
			ratio = ""
		}
		verdict := check.Verdict
		if len(check.Reasons) > 0 && verdict != DriverFailed {
			verdict += " †"
		}
		w.row(check.Case, check.Subject, check.Metric, ratio, benchmark.FormatFigure(check.Expected), verdict)
	}
}
