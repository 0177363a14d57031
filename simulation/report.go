package simulation

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Report says what some runs of one profile on one log store have shown. Reports are kept as lines of JSON, one behind the other, and
// those of the same profile and log store are added up when they are read.
type Report struct {
	Profile    string            `json:"profile"`
	LogDB      string            `json:"log_store"`
	Seeds      uint64            `json:"seeds"`
	Virtual    time.Duration     `json:"virtual_ns"`
	Real       time.Duration     `json:"real_ns"`
	Counters   map[string]uint64 `json:"counters"`
	Violations []string          `json:"violations,omitempty"`
}

// Add counts one more run.
func (r *Report) Add(result *Result) {
	r.Seeds++
	r.Virtual += result.Virtual
	if r.Counters == nil {
		r.Counters = map[string]uint64{}
	}
	for i, name := range counterNames {
		r.Counters[name] += result.Counters[i]
	}
	if v := result.Violation; v != nil {
		r.Violations = append(r.Violations, fmt.Sprintf("seed %d: %v", result.Seed, v))
	}
}

func (r *Report) merge(other *Report) {
	r.Seeds += other.Seeds
	r.Virtual += other.Virtual
	r.Real += other.Real
	for _, name := range counterNames {
		r.Counters[name] += other.Counters[name]
	}
	r.Violations = append(r.Violations, other.Violations...)
}

// Write appends the report as a line.
func (r *Report) Write(to io.Writer) error { return json.NewEncoder(to).Encode(r) }

// ReadReports reads reports and adds up those that belong together. They come in the order of the profiles.
func ReadReports(from io.Reader) ([]Report, error) {
	var reports []Report
	for lines := json.NewDecoder(from); ; {
		var r Report
		err := lines.Decode(&r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("simulation: a line of a report: %w", err)
		}
		i := slices.IndexFunc(reports, func(known Report) bool { return known.Profile == r.Profile && known.LogDB == r.LogDB })
		if i < 0 {
			i = len(reports)
			reports = append(reports, Report{Profile: r.Profile, LogDB: r.LogDB, Counters: map[string]uint64{}})
		}
		reports[i].merge(&r)
	}
	order := Profiles()
	slices.SortStableFunc(reports, func(a, b Report) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Profile), slices.Index(order, b.Profile)), cmp.Compare(a.LogDB, b.LogDB))
	})
	return reports, nil
}

// Events returns the names of all counters: faults, what clients met, rare events.
func Events() []string { return counterNames[:] }
