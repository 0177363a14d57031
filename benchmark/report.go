package benchmark

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// WriteReport stores a report as indented JSON.
func WriteReport(name string, report any) error {
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("benchmark: report: %w", err)
	}
	if err := os.WriteFile(name, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("benchmark: report: %w", err)
	}
	return nil
}

// Fields are the figures of a repeat, or the medians, by the names that requirements have for them.
type Fields map[string]*float64

// TakeMedians takes the median of each figure over the repeats; of an even number the lower of the middle two.
func (f Fields) TakeMedians(repeats []Fields) {
	if len(repeats) == 0 {
		return
	}
	for name, field := range f {
		var values []float64
		for _, repeat := range repeats {
			values = append(values, *repeat[name])
		}
		slices.Sort(values)
		*field = values[(len(values)-1)/2]
	}
}

// Judge holds requirements, whose right sides are numbers, against the figures and prints each; see JudgeAll.
func (f Fields) Judge(requirements []Requirement, out io.Writer) ([]Verdict, error) {
	return JudgeAll(requirements, func(requirement Requirement) (value, right float64, err error) {
		return *f[requirement.Metric], 1, nil
	}, out)
}

// WithDirectoryOf is WithDirectory for a workload with files of its own: use gets a directory in the data directory that bears its name, is new, and
// is removed at the end unless the data is kept.
func WithDirectoryOf(workload string, config Config, out io.Writer, use func(path string) error) error {
	return WithDirectory(config, out, func(path string) error {
		dir := filepath.Join(path, workload)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("benchmark: data directory (is it left from an earlier run with --keep?): %w", err)
		}
		err := use(dir)
		if !config.Keep {
			err = errors.Join(err, os.RemoveAll(dir)) // the data directory is refused if it is not empty
		}
		return err
	})
}

// Wait waits for d, or until ctx ends, whose cause it returns then.
func Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
