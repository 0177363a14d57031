package comparison

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// Report is everything that a run of the comparison found.
type Report struct {
	Machine Machine   `json:"machine"`
	Commit  string    `json:"commit"`
	Command string    `json:"command"`
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
	Quick   bool      `json:"quick"`

	Cases    []CaseReport  `json:"cases"`
	Verdicts []Verdict     `json:"verdicts"`
	Drivers  []DriverCheck `json:"drivers,omitempty"`
}

// CaseReport is what one load did to each of its subjects.
type CaseReport struct {
	Row       string          `json:"row"`
	Name      string          `json:"name"`
	Title     string          `json:"title"`
	Seconds   float64         `json:"seconds"` // measured of each repeat
	EqualHeap bool            `json:"equal_heap,omitempty"`
	Subjects  []SubjectReport `json:"subjects"`

	// A report may be made in pieces: these are of the piece that the case was measured in, all its repeats in turns.
	Commit  string    `json:"commit,omitempty"`
	Command string    `json:"command,omitempty"`
	Began   time.Time `json:"began,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	// Planned is how many repeats there were to be, Interrupted that the run ended before the last of them.
	Planned     int  `json:"planned,omitempty"`
	Interrupted bool `json:"interrupted,omitempty"`
}

// SubjectReport is one engine under a load. Median is nil if no repeat came to an end; Failures say why repeats did not.
type SubjectReport struct {
	Name     string             `json:"name"`
	LogDB    string             `json:"logdb,omitempty"`
	Repeats  []benchmark.Result `json:"repeats,omitempty"`
	Median   *benchmark.Result  `json:"median,omitempty"`
	Failures []string           `json:"failures,omitempty"`
	// Unavailable says why the engine cannot be put under the load at all, yet.
	Unavailable string `json:"unavailable,omitempty"`
}

func (r *Report) caseNamed(name string) *CaseReport {
	for i := range r.Cases {
		if r.Cases[i].Name == name {
			return &r.Cases[i]
		}
	}
	return nil
}

// measuredCase is a case that was measured whole.
func (r *Report) measuredCase(name string) *CaseReport {
	if c := r.caseNamed(name); c != nil && !c.Interrupted {
		return c
	}
	return nil
}

// spread returns the least and the greatest of a figure over the repeats.
func (s *SubjectReport) spread(metric string) (least, greatest float64) {
	for i := range s.Repeats {
		value, _ := s.Repeats[i].Figure(metric)
		if i == 0 {
			least, greatest = value, value
		}
		least, greatest = min(least, value), max(greatest, value)
	}
	return least, greatest
}

// WriteJSON stores the report. The file that was there before is replaced whole, or stays.
func (r *Report) WriteJSON(name string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("comparison: report: %w", err)
	}
	if err := os.WriteFile(name+".new", append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("comparison: report: %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("comparison: report: %w", errors.Join(err, os.Remove(name+".new")))
	}
	return nil
}

// ReadJSON reads what WriteJSON wrote.
func ReadJSON(name string) (*Report, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("comparison: report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("comparison: report %s: %w", name, err)
	}
	return &r, nil
}
