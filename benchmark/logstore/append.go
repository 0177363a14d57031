package logstore

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// AppendResult is what one store did with a number of appenders and a payload, and what the limit did beside it.
type AppendResult struct {
	Store     string `json:"store"`
	Appenders int    `json:"appenders"`
	Payload   int    `json:"payload"`

	AppendsPerSecond float64 `json:"appends_per_second"`
	SyncsPerSecond   float64 `json:"syncs_per_second"` // writes that gathered Commits; Commits where the store does not tell
	BytesPerSecond   float64 `json:"bytes_per_second"` // batches with their headers
	BytesPerSync     float64 `json:"bytes_per_sync"`
	LatencyP50       float64 `json:"latency_p50_us"`
	LatencyP99       float64 `json:"latency_p99_us"`
	CPUPerSync       float64 `json:"cpu_us_per_sync"` // of the whole process
	// DiskBytesPerByte is what the process handed to the block layer for each byte of a batch, padding included.
	DiskBytesPerByte float64 `json:"disk_bytes_per_byte"`

	Limit               string  `json:"limit"`                  // the best technique
	LimitSyncsPerSecond float64 `json:"limit_syncs_per_second"` // in the turns between those of the store
	// Ratio is SyncsPerSecond over LimitSyncsPerSecond, both with the same bytes per sync; the ratio of bandwidths is the same.
	Ratio float64 `json:"ratio"`
}

// RunAppend measures each store with each number of appenders and payload, in turns with the limit, and writes a table to out. It
// returns the medians over the repeats.
func RunAppend(ctx context.Context, config AppendConfig, out io.Writer) ([]AppendResult, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config.setDefaults()
	fmt.Fprintf(out, "%-10s %9s %8s %10s %10s %9s %9s %9s %8s %7s  %s\n", "store", "appenders", "payload", "appends/s", "syncs/s",
		"MB/s", "p50 us", "p99 us", "cpu us", "ratio", "limit")
	var medians []AppendResult
	for _, payload := range config.Payloads {
		for _, appenders := range config.Appenders {
			repeats := make([][]AppendResult, len(config.Stores))
			for range config.Repeat {
				for i, store := range config.Stores {
					result, err := measureAppend(ctx, &config, store, appenders, payload)
					if err != nil {
						return medians, fmt.Errorf("%s, %d appenders, %d bytes: %w", store.Name, appenders, payload, err)
					}
					repeats[i] = append(repeats[i], result)
				}
			}
			for i := range config.Stores {
				median := medianAppend(repeats[i])
				medians = append(medians, median)
				fmt.Fprintf(out, "%-10s %9d %8d %10.0f %10.0f %9.1f %9.0f %9.0f %8.0f %7.3f  %s\n", median.Store, appenders, payload,
					median.AppendsPerSecond, median.SyncsPerSecond, median.BytesPerSecond/1e6, median.LatencyP50, median.LatencyP99,
					median.CPUPerSync, median.Ratio, median.Limit)
			}
		}
	}
	return medians, nil
}

// medianAppend takes the median of each figure; the limit's technique is that of the repeat with the median ratio.
func medianAppend(repeats []AppendResult) AppendResult {
	slices.SortFunc(repeats, func(a, b AppendResult) int {
		switch {
		case a.Ratio < b.Ratio:
			return -1
		case a.Ratio > b.Ratio:
			return 1
		}
		return 0
	})
	median := repeats[len(repeats)/2]
	for _, field := range []func(*AppendResult) *float64{
		func(r *AppendResult) *float64 { return &r.AppendsPerSecond },
		func(r *AppendResult) *float64 { return &r.SyncsPerSecond },
		func(r *AppendResult) *float64 { return &r.BytesPerSecond },
		func(r *AppendResult) *float64 { return &r.BytesPerSync },
		func(r *AppendResult) *float64 { return &r.LatencyP50 },
		func(r *AppendResult) *float64 { return &r.LatencyP99 },
		func(r *AppendResult) *float64 { return &r.CPUPerSync },
		func(r *AppendResult) *float64 { return &r.DiskBytesPerByte },
		func(r *AppendResult) *float64 { return &r.LimitSyncsPerSecond },
		func(r *AppendResult) *float64 { return &r.Ratio },
	} {
		values := make([]float64, len(repeats))
		for i := range repeats {
			values[i] = *field(&repeats[i])
		}
		slices.Sort(values)
		*field(&median) = (values[(len(values)-1)/2] + values[len(values)/2]) / 2
	}
	return median
}

// wait passes the time, or ends early with the context.
func wait(ctx context.Context, duration time.Duration) {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
