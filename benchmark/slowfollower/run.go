package slowfollower

import (
	"context"
	"errors"
	"fmt"
	"github.com/flotilla-raft/flotilla/benchmark"
	"io"
	"path/filepath"
	"runtime"
	"time"
)

// stepTimeout bounds everything that only has to happen some time, as starting and settling; catching up is given ten times as long
// as the follower was stopped on top of that.
const stepTimeout = time.Minute

// Options describe a run.
type Options struct {
	// Hosts, Shards, Payload, InFlight and Repeat are counts as in benchmark.Config.
	Hosts    int `json:"hosts"`
	Shards   int `json:"shards"`
	Payload  int `json:"payload"`
	InFlight int `json:"in_flight"`
	Repeat   int `json:"repeat"`
	// LogDB is the log store, seglog or pebble.
	LogDB string `json:"logdb"`
	// Warmup is the time under load before the first phase; Duration is how long the first two phases take, each.
	Warmup   time.Duration `json:"warmup_ns"`
	Duration time.Duration `json:"duration_ns"`
	// Data is an existing directory for the data of all hosts.
	Data string `json:"-"`

	// reserve is the hosts' DiskReserveBytes; tests fill a disk by it.
	reserve int64
}

// Run makes the repeats and returns what was measured until it ended or failed.
func Run(ctx context.Context, options Options, out io.Writer) (*Report, error) {
	report := &Report{Options: options}
	for repeat := range options.Repeat {
		fmt.Fprintf(out, "\nslow follower, repeat %d of %d\n", repeat+1, options.Repeat)
		r := &run{Options: options, out: out}
		err := r.run(ctx, filepath.Join(options.Data, fmt.Sprintf("repeat-%d", repeat+1)))
		report.Repeats = append(report.Repeats, r.figures)
		if err != nil {
			return report, err
		}
	}
	report.conclude()
	return report, nil
}

// run is one repeat.
type run struct {
	Options
	out     io.Writer
	cluster *cluster
	load    load
	figures Figures
}

func (r *run) run(ctx context.Context, dir string) (err error) {
	startCtx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if r.cluster, err = startCluster(startCtx, &r.Options, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.cluster.close()) }()
	leaders, err := r.cluster.lead(startCtx)
	if err != nil {
		return err
	}
	r.load.start(leaders, r.InFlight, r.Payload)
	err = r.phases(ctx)
	r.cluster.gate.closed.Store(false)
	r.load.stop()
	if err != nil {
		return err
	}
	settleCtx, cancelSettle := context.WithTimeout(ctx, stepTimeout)
	defer cancelSettle()
	return r.cluster.agree(settleCtx)
}

func (r *run) phases(ctx context.Context) (err error) {
	f := &r.figures
	if err = benchmark.Wait(ctx, r.Warmup); err != nil {
		return err
	}
	if f.Before, err = r.rate(ctx, r.Duration); err != nil {
		return err
	}
	_, _, changes := r.cluster.totals()
	busy, failures, heap := r.load.busy.Load(), r.load.failures.Load(), heapBytes()
	r.cluster.gate.closed.Store(true)
	if f.Stopped, err = r.rate(ctx, r.Duration); err != nil {
		return err
	}
	f.StoppedRatio = f.Stopped / max(f.Before, 1)
	f.HeapGrowthMiB = (float64(heapBytes()) - float64(heap)) / (1 << 20)
	f.Busy, f.Errors = float64(r.load.busy.Load()-busy), float64(r.load.failures.Load()-failures)
	if err = r.catchUp(ctx); err != nil {
		return err
	}
	_, _, after := r.cluster.totals()
	f.LeaderChanges = float64(after - changes)
	fmt.Fprintln(r.out, f)
	return nil
}

// catchUp opens the gate and waits until the last host has what the others had at that moment.
func (r *run) catchUp(ctx context.Context) error {
	f, last := &r.figures, len(r.cluster.hosts)-1
	wanted := r.cluster.appliedBy(0)
	for host := range last {
		for shard, count := range r.cluster.appliedBy(host) {
			wanted[shard] = max(wanted[shard], count)
		}
	}
	for shard, count := range r.cluster.appliedBy(last) {
		f.Behind += float64(wanted[shard] - min(count, wanted[shard]))
	}
	reads, _, _ := r.cluster.totals()
	accepted, began := r.load.accepted.Load(), time.Now()
	r.cluster.gate.closed.Store(false)
	patience, cancel := context.WithTimeout(ctx, stepTimeout+10*r.Duration)
	defer cancel()
	for shard := range wanted {
		for r.cluster.machines[last][shard].count.Load() < wanted[shard] {
			if err := errors.Join(benchmark.Wait(patience, pollInterval), r.cluster.room()); err != nil {
				return fmt.Errorf("slowfollower: shard %d has applied %d of %d commands on the host that was stopped: %w", shard+1,
					r.cluster.machines[last][shard].count.Load(), wanted[shard], err)
			}
		}
	}
	took := time.Since(began)
	after, elsewhere, _ := r.cluster.totals()
	f.CatchUpSeconds = took.Seconds()
	f.CatchUp = float64(r.load.accepted.Load()-accepted) / max(took.Seconds(), 1e-9)
	f.LogReads, f.LogReadsElsewhere = float64(after-reads), float64(elsewhere)
	return nil
}

// rate returns how many commands were accepted in a second, over the span.
func (r *run) rate(ctx context.Context, span time.Duration) (float64, error) {
	accepted, began := r.load.accepted.Load(), time.Now()
	if err := errors.Join(benchmark.Wait(ctx, span), r.cluster.room()); err != nil {
		return 0, err
	}
	return float64(r.load.accepted.Load()-accepted) / time.Since(began).Seconds(), nil
}

// heapBytes is what is in use after a collection.
func heapBytes() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
