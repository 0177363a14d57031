package logstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
)

// What the command line fills in unless it is told otherwise.
const (
	DefaultAppendDuration = 2 * time.Second
	DefaultOpenShards     = 10_000
	// minSpaceDuration is the least Duration with which space is measured, too: in less no store comes to a steady state.
	minSpaceDuration = time.Second
)

// Stores returns the log stores that come with the project, under the names that --logdb has for them.
func Stores() []Store {
	return []Store{
		{Name: "pebble", Open: func(directory string, fs vfs.FS) (logdb.LogDB, error) {
			return pebblelog.Open(pebblelog.Options{Dir: directory, FS: fs})
		}},
		{Name: "seglog", Open: func(directory string, fs vfs.FS) (logdb.LogDB, error) {
			return seglog.Open(seglog.Options{Dir: directory, FS: fs})
		}, SegmentBytes: seglog.DefaultSegmentBytes},
	}
}

// Report is what Bench found; --json writes it.
type Report struct {
	Append       []AppendResult      `json:"append,omitempty"`
	Space        []SpaceResult       `json:"space,omitempty"`
	Open         []OpenResult        `json:"open,omitempty"`
	Requirements []benchmark.Verdict `json:"requirements,omitempty"`
}

// Bench runs the workload that config names on all stores; requirements are held against the store that config.LogDB names. program is
// the command line of a FillOrder, but for the order.
func Bench(ctx context.Context, config benchmark.Config, program []string, out io.Writer) (report *Report, err error) {
	report = &Report{}
	err = benchmark.WithDirectory(config, out, func(path string) (err error) {
		if config.Workload == benchmark.WorkloadAppend {
			report.Append, err = RunAppend(ctx, AppendConfig{
				Stores: Stores(), Directory: path, Warmup: config.Duration / 4, Duration: config.Duration, Repeat: config.Repeat,
				Appenders: benchmark.AppendAppenders(), Payloads: benchmark.AppendPayloads(),
			}, out)
			if err != nil || config.Duration < minSpaceDuration {
				return err
			}
			report.Space, err = RunSpace(ctx, SpaceConfig{Stores: Stores(), Directory: path, Warmup: config.Duration, Duration: 3 * config.Duration}, out)
			return err
		}
		report.Open, err = RunOpen(ctx, OpenConfig{
			Stores: Stores(), Directory: path, Fill: Fill{Shards: config.Shards, Bytes: int64(config.LogMiB) << 20},
			Child: func(store Store, directory string, fill Fill, killed bool) *exec.Cmd {
				order, err := json.Marshal(FillOrder{store.Name, directory, fill, killed})
				if err != nil {
					panic(err) // strings and numbers
				}
				return exec.Command(program[0], append(program[1:len(program):len(program)], string(order))...)
			},
		}, out)
		return err
	})
	if err != nil {
		return report, err
	}
	err = report.judge(config.LogDB, config.Require, out)
	if config.JSON != "" {
		err = errors.Join(benchmark.WriteReport(config.JSON, report), err)
	}
	return report, err
}

// FillOrder tells a child process what to fill.
type FillOrder struct {
	Store     string `json:"store"`
	Directory string `json:"directory"`
	Fill      Fill   `json:"fill"`
	Killed    bool   `json:"killed"`
}

// Run fills the store and says so on out. If it is to be killed it then waits for that, or for the end of ctx.
func (o *FillOrder) Run(ctx context.Context, out io.Writer) error {
	for _, store := range Stores() {
		if store.Name == o.Store {
			return FillStore(ctx, store, o.Directory, o.Fill, func() {
				fmt.Fprintln(out, FilledLine)
				if o.Killed {
					<-ctx.Done()
				}
			})
		}
	}
	return fmt.Errorf("%w: store %q", ErrConfig, o.Store)
}

// figure returns the figure of a store by the name that requirements have for it.
func (r *Report) figure(store, name string) (value float64, found bool) {
	for i := range r.Append {
		if a := &r.Append[i]; a.Store == store && benchmark.AppendMetric(a.Appenders, a.Payload) == name {
			return a.Ratio, true
		}
	}
	for i, loads := 0, 0; i < len(r.Space); i++ {
		s := &r.Space[i]
		if s.Store != store {
			continue
		}
		load := benchmark.SpaceLoads()[min(loads, 1)]
		loads++
		switch name {
		case "append." + load + "device_bytes":
			return s.DeviceBytesPerByte, true
		case "append." + load + "disk_use":
			return s.DiskUse, true
		case "append.idle_shard_bytes":
			return s.IdleShardBytes, true
		}
	}
	for i := range r.Open {
		o := &r.Open[i]
		if o.Store != store {
			continue
		}
		switch {
		case name == "open.closed_s" && !o.Killed, name == "open.killed_s" && o.Killed:
			return o.OpenSeconds, true
		case name == "open.closed_loaded_s" && !o.Killed, name == "open.killed_loaded_s" && o.Killed:
			return o.OpenSeconds + o.LoadSeconds, true
		case name == "open.bytes_per_batch" && !o.Killed:
			return o.HeapPerBatch, true
		}
	}
	return 0, false
}

// judge holds requirements against the figures of a store and prints each.
func (r *Report) judge(store string, requirements []benchmark.Requirement, out io.Writer) (err error) {
	r.Requirements, err = benchmark.JudgeAll(requirements, func(requirement benchmark.Requirement) (value, right float64, err error) {
		value, found := r.figure(store, requirement.Metric)
		if !found {
			return 0, 0, fmt.Errorf("%w: %s: no such figure of %s", ErrConfig, requirement, store)
		}
		return value, 1, nil
	}, out)
	return err
}
