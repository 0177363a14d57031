package logstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// AppendResult is what one store did with a number of appenders and a payload, and what the limit did beside it.
type AppendResult struct {
	Store     string `json:"store"`
	Appenders int    `json:"appenders"`
	Payload   int    `json:"payload"`

	AppendsPerSecond float64 `json:"appends_per_second"`
	SyncsPerSecond   float64 `json:"syncs_per_second"`
	BytesPerSecond   float64 `json:"bytes_per_second"` // batches with their headers
	BytesPerSync     float64 `json:"bytes_per_sync"`
	LatencyP50       float64 `json:"latency_p50_us"`
	LatencyP99       float64 `json:"latency_p99_us"`
	CPUPerSync       float64 `json:"cpu_us_per_sync"` // of the whole process
	// DiskBytesPerByte is what the process handed to the block layer for each byte of a batch, padding included.
	DiskBytesPerByte float64 `json:"disk_bytes_per_byte"`

	Limit               string  `json:"limit"` // the best technique
	LimitSyncsPerSecond float64 `json:"limit_syncs_per_second"`
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

// measureAppend measures a store, and then the limit with as many bytes a sync.
func measureAppend(ctx context.Context, config *AppendConfig, store Store, appenders, payload int) (AppendResult, error) {
	directory, err := os.MkdirTemp(config.Directory, "append")
	if err != nil {
		return AppendResult{}, fmt.Errorf("logstore: %w", err)
	}
	defer os.RemoveAll(directory)
	result, err := measureStore(ctx, config, store, directory, appenders, payload)
	if err != nil || result.BytesPerSync == 0 { // a machine so busy that nothing became durable has nothing to compare
		return result, err
	}
	for _, technique := range techniques() {
		if ctx.Err() != nil {
			return result, context.Cause(ctx)
		}
		syncs, err := technique.syncs(directory, int(result.BytesPerSync), config.Warmup/4, config.Duration/4)
		if errors.Is(err, errUnsupported) {
			continue
		}
		if err != nil {
			return result, err
		}
		if syncs > result.LimitSyncsPerSecond {
			result.LimitSyncsPerSecond, result.Limit = syncs, technique.String()
		}
	}
	if result.LimitSyncsPerSecond > 0 {
		result.Ratio = result.SyncsPerSecond / result.LimitSyncsPerSecond
	}
	return result, nil
}

func measureStore(ctx context.Context, config *AppendConfig, store Store, directory string, appenders, payload int) (result AppendResult, err error) {
	result = AppendResult{Store: store.Name, Appenders: appenders, Payload: payload}
	db, err := store.Open(directory, vfs.Default)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	g := newGatherer(db)
	var measuring atomic.Bool
	stopped := make(chan struct{})
	failures := make(chan error, appenders)
	histograms := make([]*hdrhistogram.Histogram, appenders)
	var batch int
	var running sync.WaitGroup
	for i := range appenders {
		a := newAppender(g, uint64(i+1), payload, 1, config.KeepBytes)
		batch = len(a.batch)
		h := hdrhistogram.New(1, int64(time.Minute), 2)
		histograms[i] = h
		running.Go(func() {
			failures <- a.run(stopped, measuring.Load, func(took time.Duration) { _ = h.RecordValue(int64(took)) })
		})
	}
	wait(ctx, config.Warmup)
	measuring.Store(true)
	before := benchmark.ReadProcessUsage()
	commits, bytes := g.counts()
	wait(ctx, config.Duration)
	after := benchmark.ReadProcessUsage()
	commitsAfter, bytesAfter := g.counts()
	measuring.Store(false)
	close(stopped)
	running.Wait()
	for range appenders {
		err = errors.Join(err, <-failures)
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	result.fill(before, after, commitsAfter-commits, bytesAfter-bytes, batch, histograms)
	return result, err
}

func (r *AppendResult) fill(before, after benchmark.ProcessUsage, commits, bytes uint64, batch int, histograms []*hdrhistogram.Histogram) {
	all := hdrhistogram.New(1, int64(time.Minute), 2)
	for _, h := range histograms {
		all.Merge(h)
	}
	seconds := after.At.Sub(before.At).Seconds()
	if commits == 0 || seconds == 0 {
		return
	}
	appends := float64(all.TotalCount())
	r.AppendsPerSecond = appends / seconds
	r.SyncsPerSecond = float64(commits) / seconds
	r.BytesPerSecond = r.AppendsPerSecond * float64(batch)
	r.BytesPerSync = float64(bytes) / float64(commits)
	r.LatencyP50 = float64(all.ValueAtPercentile(50)) / 1e3
	r.LatencyP99 = float64(all.ValueAtPercentile(99)) / 1e3
	r.CPUPerSync = float64((after.CPU - before.CPU).Microseconds()) / float64(commits)
	if appends > 0 {
		r.DiskBytesPerByte = float64(after.DiskBytes-before.DiskBytes) / (appends * float64(batch))
	}
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
