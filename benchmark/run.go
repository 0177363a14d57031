package benchmark

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/benchmark/countfs"
)

const (
	startTimeout = 4 * time.Minute // ten thousand shards on a busy machine
	drainTimeout = time.Minute

	// interruptTimeout is the same for a run that was interrupted: the clients should end before the cluster does.
	interruptTimeout = 5 * time.Second
)

// Run makes the benchmark and writes progress, the summary and every fault found to out. The report holds what was measured
// until then also if there is an error, which wraps one of
//
//	ErrConfig         the configuration is wrong, and nothing was started
//	ErrCheck          replicas differ, or a command was lost or doubled
//	ErrRequirement    a figure missed its target
//	ErrNotComparable  the machine changed between the engines
//
// or says what failed. An unequal machine is only reported if nothing worse is.
func Run(ctx context.Context, config Config, engines []Engine, out io.Writer) (*Report, error) {
	return runWith(ctx, config, engines, out, gauge{measureYardsticks, usage.stealPercent})
}

// gauge tells how fast the machine is: by yardsticks in a directory between the runs, and by what was stolen from it during one.
type gauge struct {
	yardsticks   func(directory string) (Yardsticks, error)
	stealPercent func(to, from usage) float64
}

// runWith is Run with a way to look at the machine.
func runWith(ctx context.Context, config Config, engines []Engine, out io.Writer, gauge gauge) (report *Report, err error) {
	if err := config.Validate(engines); err != nil {
		return nil, err
	}
	data, err := openDirectory(config.Data)
	if err != nil {
		return nil, err
	}
	defer func() {
		if config.Keep {
			fmt.Fprintln(out, "data kept in", data.path)
		} else {
			err = errors.Join(err, data.remove())
		}
	}()
	if data.warning != "" {
		fmt.Fprintln(out, "WARNING:", data.warning)
	}
	b := &bench{Config: config, engines: engines, data: data, out: out, gauge: gauge, report: &Report{}}
	return b.report, b.run(ctx)
}

// bench is one call of Run.
type bench struct {
	Config
	gauge
	engines []Engine
	data    *dataDirectory
	out     io.Writer
	report  *Report
}

// run makes the repeats of all engines in turns, so that a machine that drifts is shared by all, and then sums up.
func (b *bench) run(ctx context.Context) error {
	of := make(map[string][]Result)
	before, err := b.yardsticks(b.data.path)
	if err != nil {
		return err
	}
	for repeat := range b.Repeat {
		for _, label := range b.Engines {
			fmt.Fprintf(b.out, "\n%s, repeat %d of %d\n", label, repeat+1, b.Repeat)
			result, steal, err := b.repeat(ctx, label, repeat)
			if err != nil {
				return fmt.Errorf("%s: %w", label, err)
			}
			debug.FreeOSMemory() // the next one starts with the heap of the first
			after, err := b.yardsticks(b.data.path)
			if err != nil {
				return err
			}
			y := between(before, after, steal)
			result.YardstickFdatasyncP50, result.YardstickStealPercent, result.YardstickCPULoop = y.FdatasyncP50, y.StealPercent, y.CPULoop
			before = after
			of[label] = append(of[label], result)
			b.report.Repeats = append(b.report.Repeats, result)
		}
	}
	return b.sumUp(of)
}

// sumUp takes the medians, compares, judges and writes the report.
func (b *bench) sumUp(of map[string][]Result) error {
	medians := make([]Result, len(b.Engines))
	for i, label := range b.Engines {
		medians[i] = medianOf(of[label])
	}
	b.report.Median = medians[0]
	if len(medians) > 1 {
		b.report.Medians, b.report.Comparison = medians, compare(medians)
	}
	printSummary(b.out, medians, b.report.Comparison)
	unequal := b.report.Comparison.err()
	if unequal != nil {
		fmt.Fprintln(b.out, "\nREFUSED:", unequal)
	}
	missed := b.judge(medians, unequal != nil)
	if b.JSON != "" {
		if err := WriteReport(b.JSON, b.report); err != nil {
			return err
		}
	}
	if missed != nil {
		return missed
	}
	return unequal
}

// judge holds the requirements against the medians. Those that name another engine are left open if the two may not be compared.
func (b *bench) judge(medians []Result, unequal bool) error {
	var missed []string
	for i, requirement := range b.Require {
		if i == 0 {
			fmt.Fprintln(b.out)
		}
		if unequal && requirement.Engine != "" {
			fmt.Fprintf(b.out, "OPEN    %s: not comparable\n", requirement)
			continue
		}
		verdict := requirement.judge(medians)
		b.report.Requirements = append(b.report.Requirements, verdict)
		word := "MET   "
		if !verdict.Met {
			word = "MISSED"
			missed = append(missed, requirement.String())
		}
		fmt.Fprintf(b.out, "%s  %s: %s against %s\n", word, requirement, figure(verdict.Figure), figure(verdict.Bound))
	}
	if missed == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrRequirement, strings.Join(missed, ", "))
}

// repeat starts a cluster, loads it, checks it and removes it.
func (b *bench) repeat(ctx context.Context, label string, number int) (result Result, steal float64, err error) {
	engine, _ := engineNamed(b.engines, label) // Validate has seen it
	directory, err := b.data.run(fmt.Sprintf("%s-%d", strings.ReplaceAll(label, ":", "-"), number+1))
	if err != nil {
		return Result{}, 0, err
	}
	defer func() {
		if !b.Keep {
			err = errors.Join(err, os.RemoveAll(directory))
		}
	}()
	resetPeakMemory()
	options := b.load(label)
	machines := newMachines(b.Hosts, options)
	fs := countfs.New(vfs.Default)
	startCtx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	cluster, err := engine.Start(startCtx, ClusterOptions{
		Hosts: b.Hosts, Shards: b.Shards, Directory: directory, FS: fs, LogDB: b.LogDB, Transport: b.Transport,
		Delay: b.Delay, SnapshotEntries: b.SnapshotEntries, LeaseRead: b.Reads == ReadsByLease, CountSync: fs.CountSync,
		Machine: func(host, shard int) *Machine { return machines[host][shard] },
	})
	if err != nil {
		return Result{}, 0, fmt.Errorf("start: %w", err)
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	if err := cluster.BalanceLeaders(startCtx); err != nil {
		return Result{}, 0, fmt.Errorf("balance leaders: %w", err)
	}

	l := newLoad(cluster, options)
	l.start()
	m := &measurement{bench: b, load: l, cluster: cluster, fs: fs, machines: machines, flushes: flushesOf(directory)}
	measureErr := m.measure(ctx)
	checkErr := b.endCheck(ctx, l, machines)
	result = m.result
	result.PeakRSSMiB = peakMemory()
	if engine.SyncsUncounted {
		result.FsyncsPerThousandOps = 0
	}
	result.Engine = label
	if result.LogDB = b.LogDB; len(engine.LogDBs) == 0 {
		result.LogDB = "none"
	}
	return result, m.steal, errors.Join(measureErr, checkErr)
}

func newMachines(hosts int, options loadOptions) [][]*Machine {
	machines := make([][]*Machine, hosts)
	for host := range machines {
		machines[host] = make([]*Machine, options.shards)
		for shard := range machines[host] {
			machines[host][shard] = newMachine(options.seed, shard, options.clientsOf(shard))
		}
	}
	return machines
}

// endCheck ends the load, lets the replicas catch up and compares everything. It prints what it finds.
func (b *bench) endCheck(ctx context.Context, l *load, machines [][]*Machine) error {
	timeout := drainTimeout
	if ctx.Err() != nil {
		timeout = interruptTimeout
	}
	drainCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	found := &differences{}
	drainErr := l.stop(drainCtx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if drainErr != nil {
		found.add("%v", drainErr)
	}
	if err := l.cluster.Settle(ctx); err != nil {
		found.add("the cluster did not settle: %v", err)
	}
	waitApplied(ctx, machines)
	checkReplicas(machines, found)
	if drainErr == nil { // else clients are still at work, and what they hold must not be read
		checkClients(l, machines, found)
	}
	if stale := l.stale.Load(); stale > 0 {
		found.add("%d reads missed an acknowledged write", stale)
	}
	if found.count == 0 {
		fmt.Fprintf(b.out, "check: all %d replicas agree, every acknowledged command is in exactly once, %d outcomes unknown\n",
			b.Hosts*b.Shards, l.unknown.Load())
		return nil
	}
	for _, line := range found.lines {
		fmt.Fprintln(b.out, "CHECK:", line)
	}
	if more := found.count - len(found.lines); more > 0 {
		fmt.Fprintf(b.out, "CHECK: %d more\n", more)
	}
	return fmt.Errorf("%w: %d differences", ErrCheck, found.count)
}
