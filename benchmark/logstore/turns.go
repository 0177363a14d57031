package logstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/logdb"
)

const (
	// turns is how often store and limit take turns within one Duration. A device may change its pace by half from one second to the next.
	turns = 8
	// candidates is how many of the limit's techniques take part in the turns: those that were best before, as far as they reach candidateShare
	// of the best. Not all, since those that make files disturb the others.
	candidates     = 2
	candidateShare = 0.9
)

// appendRun is one store with its appenders and what was measured of it so far.
type appendRun struct {
	gatherer  *gatherer
	appenders []*appender

	histograms []*hdrhistogram.Histogram
	seconds    float64
	syncs      uint64
	bytes      uint64
	cpu        time.Duration
	diskBytes  uint64
}

// measureAppend measures a store and the limit, in turns: while one of them has the disk, the other rests.
func measureAppend(ctx context.Context, config *AppendConfig, store Store, appenders, payload int) (result AppendResult, err error) {
	result = AppendResult{Store: store.Name, Appenders: appenders, Payload: payload}
	directory, err := os.MkdirTemp(config.Directory, "append")
	if err != nil {
		return result, fmt.Errorf("logstore: %w", err)
	}
	defer os.RemoveAll(directory)
	db, err := store.Open(directory, vfs.Default)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	r := &appendRun{gatherer: newGatherer(db)}
	for i := range appenders {
		r.appenders = append(r.appenders, newAppender(r.gatherer, uint64(i+1), payload, 1, config.KeepBytes))
		r.histograms = append(r.histograms, hdrhistogram.New(1, int64(time.Minute), 2))
	}
	limit := &limit{directory: directory}
	defer limit.close()
	if err := r.warmUp(ctx, config, limit); err != nil {
		return result, err
	}
	span := config.Duration / turns
	for range turns {
		size, err := r.turn(ctx, span/8, span)
		if err != nil {
			return result, err
		}
		if err := limit.turn(ctx, size, span/8, span); err != nil {
			return result, err
		}
	}
	r.fill(&result)
	result.LimitSyncsPerSecond, result.Limit = limit.best()
	if result.LimitSyncsPerSecond > 0 {
		result.Ratio = result.SyncsPerSecond / result.LimitSyncsPerSecond
	}
	return result, nil
}

// warmUp brings the store to a steady state and finds out which techniques are candidates for the limit.
func (r *appendRun) warmUp(ctx context.Context, config *AppendConfig, limit *limit) error {
	defer func(histograms []*hdrhistogram.Histogram) {
		for _, h := range histograms {
			h.Reset()
		}
		*r = appendRun{gatherer: r.gatherer, appenders: r.appenders, histograms: histograms}
	}(r.histograms)
	size, err := r.turn(ctx, 0, config.Warmup)
	if err != nil || size == 0 {
		return err
	}
	if err := limit.choose(ctx, size, config.Duration/(2*turns)); err != nil {
		return err
	}
	// Meanwhile the store has rested so long that it may have given back what it had in store.
	_, err = r.turn(ctx, 0, config.Warmup)
	return err
}

// turn lets all appenders append for lead and span, and measures the span. It returns how many bytes were gathered for a sync, 0 if nothing became durable.
func (r *appendRun) turn(ctx context.Context, lead, span time.Duration) (size int, err error) {
	var measuring atomic.Bool
	stopped := make(chan struct{})
	failures := make([]error, len(r.appenders))
	var running sync.WaitGroup
	for i, a := range r.appenders {
		h := r.histograms[i]
		running.Go(func() {
			failures[i] = a.run(stopped, measuring.Load, func(took time.Duration) { _ = h.RecordValue(int64(took)) })
		})
	}
	wait(ctx, lead)
	measuring.Store(true)
	before := benchmark.ReadProcessUsage()
	commits, bytes := r.gatherer.counts()
	writes := gatheredWrites(r.gatherer.store)
	wait(ctx, span)
	after := benchmark.ReadProcessUsage()
	commitsAfter, bytesAfter := r.gatherer.counts()
	writesAfter := gatheredWrites(r.gatherer.store)
	measuring.Store(false)
	close(stopped)
	running.Wait()
	syncs, gathered := commitsAfter-commits, bytesAfter-bytes
	if writesAfter > writes {
		syncs = min(syncs, writesAfter-writes) // a store that joins Commits has gathered more for each sync
	}
	r.seconds += after.At.Sub(before.At).Seconds()
	r.syncs += syncs
	r.bytes += gathered
	r.cpu += after.CPU - before.CPU
	r.diskBytes += after.DiskBytes - before.DiskBytes
	return int(gathered / max(1, syncs)), errors.Join(errors.Join(failures...), context.Cause(ctx))
}

// gatheredWrites returns how many writes the store has made for Commits, 0 if it does not tell.
func gatheredWrites(db logdb.LogDB) uint64 {
	reporter, ok := db.(logdb.MetricsReporter)
	if !ok {
		return 0
	}
	metrics := reporter.Metrics()
	return metrics.Gathered.Count
}

// fill puts down what was measured of the store.
func (r *appendRun) fill(result *AppendResult) {
	all := hdrhistogram.New(1, int64(time.Minute), 2)
	for _, h := range r.histograms {
		all.Merge(h)
	}
	if r.syncs == 0 || r.seconds == 0 {
		return
	}
	appends, batch := float64(all.TotalCount()), float64(len(r.appenders[0].batch))
	result.AppendsPerSecond = appends / r.seconds
	result.SyncsPerSecond = float64(r.syncs) / r.seconds
	result.BytesPerSecond = result.AppendsPerSecond * batch
	result.BytesPerSync = float64(r.bytes) / float64(r.syncs)
	result.LatencyP50 = float64(all.ValueAtPercentile(50)) / 1e3
	result.LatencyP99 = float64(all.ValueAtPercentile(99)) / 1e3
	result.CPUPerSync = float64(r.cpu.Microseconds()) / float64(r.syncs)
	if appends > 0 {
		result.DiskBytesPerByte = float64(r.diskBytes) / (appends * batch)
	}
}

// limit is what one goroutine makes durable by each of the best techniques.
type limit struct {
	directory string
	attempts  []*attempt
}

// attempt is one technique and what it did in the turns so far.
type attempt struct {
	writer  *writer
	count   int
	seconds float64
}

func (a *attempt) rate() float64 { return float64(a.count) / max(a.seconds, 1e-9) }

// choose asks all techniques that there are here for a while, and keeps the best.
func (l *limit) choose(ctx context.Context, size int, span time.Duration) error {
	if err := l.open(size); err != nil {
		return err
	}
	if err := l.turn(ctx, size, span/8, span); err != nil {
		return err
	}
	slices.SortStableFunc(l.attempts, func(a, b *attempt) int { return cmp.Compare(b.rate(), a.rate()) })
	best, _ := l.best()
	kept := 0
	for i, a := range l.attempts {
		if i < candidates && a.rate() >= candidateShare*best {
			kept++
		} else {
			a.writer.close()
		}
	}
	l.attempts = l.attempts[:kept]
	for _, a := range l.attempts {
		a.count, a.seconds = 0, 0
	}
	return nil
}

// turn writes size bytes and syncs, again and again for lead and span, by each technique, and measures the span.
func (l *limit) turn(ctx context.Context, size int, lead, span time.Duration) error {
	if size == 0 {
		return nil // the machine was so busy that nothing became durable: there is nothing to compare
	}
	for _, a := range l.attempts {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := a.writer.resize(size); err != nil {
			return err
		}
		if err := a.writer.loop(lead, nil); err != nil {
			return err
		}
		begin := time.Now()
		err := a.writer.loop(span, &a.count)
		a.seconds += time.Since(begin).Seconds()
		if err != nil {
			return err
		}
	}
	return nil
}

// open makes a file for each technique that there is here, with as much room to overwrite as the store's files take: a device may be
// faster where it has been a moment ago.
func (l *limit) open(size int) error {
	room, err := fileBytes(l.directory)
	if err != nil {
		return err
	}
	for i, technique := range techniques() {
		w, err := technique.open(fmt.Sprintf("%s/limit%d", l.directory, i), size, room)
		if errors.Is(err, errUnsupported) {
			continue
		}
		if err != nil {
			return err
		}
		l.attempts = append(l.attempts, &attempt{writer: w})
	}
	return nil
}

// best returns the highest rate and its technique.
func (l *limit) best() (rate float64, technique string) {
	for _, a := range l.attempts {
		if a.rate() > rate {
			rate, technique = a.rate(), a.writer.technique.String()
		}
	}
	return rate, technique
}

func (l *limit) close() {
	for _, a := range l.attempts {
		a.writer.close()
	}
}
