package logstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// settleTime bounds the wait for what a store does behind a compaction.
const settleTime = 30 * time.Second

// SpaceConfig configures RunSpace. The zero value of each field but Stores and Directory means its default.
type SpaceConfig struct {
	// Stores are measured one after the other. Required.
	Stores []Store
	// Directory is where files are made; what is made is removed. Required.
	Directory string
	// Shards append all at once, one batch at a time; Payload is the size of a command in bytes. Defaults 1,000 and 128.
	Shards, Payload int
	// InFlight are the numbers of commands under way in all shards together: a shard's batch holds its share. Defaults 10,000 and 1,000.
	InFlight []int
	// Warmup and Duration are spent on each store and number, and up to ten times as long if little is written in it. Defaults 2 s.
	Warmup, Duration time.Duration
	// KeepBytes is how much of a shard's log compaction leaves; it comes when there is a quarter more. Default 64 KiB.
	KeepBytes int
	// Quiet is how long files have to keep their size until a store counts as at rest. Default 2 s.
	Quiet time.Duration
	// IdleShards is how many shards a store is opened with to see what one takes in memory. Default 50,000.
	IdleShards int
}

func (c *SpaceConfig) setDefaults() {
	for _, field := range []struct {
		value    *int
		standard int
	}{{&c.Shards, 1000}, {&c.Payload, 128}, {&c.KeepBytes, 64 << 10}, {&c.IdleShards, 50_000}} {
		if *field.value == 0 {
			*field.value = field.standard
		}
	}
	if len(c.InFlight) == 0 {
		c.InFlight = []int{10_000, 1_000}
	}
	if c.Warmup == 0 {
		c.Warmup = 2 * time.Second
	}
	if c.Duration == 0 {
		c.Duration = 2 * time.Second
	}
	if c.Quiet == 0 {
		c.Quiet = 2 * time.Second
	}
}

// SpaceResult is what bytes became of on their way to a disk, and what is left of them.
type SpaceResult struct {
	Store    string `json:"store"`
	Shards   int    `json:"shards"`
	Payload  int    `json:"payload"`
	InFlight int    `json:"in_flight"`

	BatchesPerSecond float64 `json:"batches_per_second"`
	// DeviceBytesPerByte is what the process handed to the block layer for each byte of a batch: padding, moving, filling of files and
	// compaction included, that of all shards at the end, too.
	DeviceBytesPerByte float64 `json:"device_bytes_per_byte"`
	// LiveBytes are those of the batches that are left when all shards were compacted; DiskBytes are those of the files then, and DiskUse is
	// what they are, less two segments, over LiveBytes.
	LiveBytes int64   `json:"live_bytes"`
	DiskBytes int64   `json:"disk_bytes"`
	DiskUse   float64 `json:"disk_use"`
	// IdleShardBytes is the heap that a shard takes which does nothing and whose log is compacted, in a store that was opened with it.
	IdleShardBytes float64 `json:"idle_shard_bytes"`
	// Log is what the store has counted.
	Log benchmark.LogFigures `json:"log"`
}

// RunSpace measures each store with each number of commands in flight, and writes a table to out.
func RunSpace(ctx context.Context, config SpaceConfig, out io.Writer) (results []SpaceResult, err error) {
	config.setDefaults()
	fmt.Fprintf(out, "%-10s %9s %10s %12s %9s %9s %9s %11s\n", "store", "in flight", "batches/s", "device B/B", "live MB", "disk MB", "disk use", "B/idle shard")
	for _, store := range config.Stores {
		idle, err := measureIdle(&config, store)
		if err != nil {
			return results, fmt.Errorf("%s: %w", store.Name, err)
		}
		for _, inFlight := range config.InFlight {
			r, err := measureSpace(ctx, &config, store, inFlight)
			if err != nil {
				return results, fmt.Errorf("%s, %d in flight: %w", store.Name, inFlight, err)
			}
			r.IdleShardBytes = idle
			results = append(results, r)
			fmt.Fprintf(out, "%-10s %9d %10.0f %12.3f %9.1f %9.1f %9.3f %11.1f\n", r.Store, inFlight, r.BatchesPerSecond, r.DeviceBytesPerByte,
				float64(r.LiveBytes)/1e6, float64(r.DiskBytes)/1e6, r.DiskUse, r.IdleShardBytes)
			r.Log.Print(out)
		}
	}
	return results, nil
}

func measureSpace(ctx context.Context, config *SpaceConfig, store Store, inFlight int) (r SpaceResult, err error) {
	r = SpaceResult{Store: store.Name, Shards: config.Shards, Payload: config.Payload, InFlight: inFlight}
	directory, err := os.MkdirTemp(config.Directory, "space")
	if err != nil {
		return r, fmt.Errorf("logstore: %w", err)
	}
	defer os.RemoveAll(directory)
	db, err := store.Open(directory, vfs.Default)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	g := newGatherer(db)
	appenders := make([]*appender, config.Shards)
	for i := range appenders {
		appenders[i] = newAppender(g, uint64(i+1), config.Payload, max(1, inFlight/config.Shards), config.KeepBytes)
		a := appenders[i]
		a.slack = a.keep / 4
		a.lead = a.slack * uint64(i) / uint64(len(appenders)) // so that not all compact at once
	}
	if err := appendEnough(ctx, appenders, config.Warmup); err != nil {
		return r, err
	}
	before, written, counted := benchmark.ReadProcessUsage(), batchBytes(appenders), countsOf(db)
	if err := appendEnough(ctx, appenders, config.Duration); err != nil {
		return r, err
	}
	seconds := time.Since(before.At).Seconds()
	bytes := batchBytes(appenders) - written
	for _, a := range appenders {
		if err := a.compact(); err != nil {
			return r, err
		}
		r.LiveBytes += a.live()
	}
	if r.DiskBytes, err = settledBytes(ctx, directory, config.Quiet); err != nil {
		return r, err
	}
	after := benchmark.ReadProcessUsage()
	r.BatchesPerSecond = float64(bytes) / float64(len(appenders[0].batch)) / seconds
	r.DeviceBytesPerByte = float64(after.DiskBytes-before.DiskBytes) / float64(max(1, bytes))
	r.DiskUse = float64(max(0, r.DiskBytes-2*store.SegmentBytes)) / float64(max(1, r.LiveBytes))
	r.Log = benchmark.LogFiguresOf(counted, countsOf(db), seconds)
	return r, nil
}

// enoughBytes is the least that is written before anything is measured, by when files are used again, and while it is: several segments.
const enoughBytes = 512 << 20

// appendEnough appends enoughBytes, for at least the span and at most ten times as long.
func appendEnough(ctx context.Context, appenders []*appender, span time.Duration) error {
	before := batchBytes(appenders)
	for range 10 {
		if err := appendFor(ctx, appenders, span); err != nil {
			return err
		}
		if batchBytes(appenders)-before >= enoughBytes {
			return nil
		}
	}
	return nil
}

// appendFor lets all append for a while.
func appendFor(ctx context.Context, appenders []*appender, span time.Duration) (err error) {
	stopped := make(chan struct{})
	failures := make([]error, len(appenders))
	var running sync.WaitGroup
	for i, a := range appenders {
		running.Go(func() { failures[i] = a.run(stopped, func() bool { return false }, nil) })
	}
	wait(ctx, span)
	close(stopped)
	running.Wait()
	return errors.Join(errors.Join(failures...), context.Cause(ctx))
}

// batchBytes returns how many bytes of batches were appended.
func batchBytes(appenders []*appender) (bytes int64) {
	for _, a := range appenders {
		bytes += int64(a.number) * int64(len(a.batch))
	}
	return bytes
}

// settledBytes waits until the files below a directory have kept their size for a while, or for settleTime, and returns it.
func settledBytes(ctx context.Context, directory string, quiet time.Duration) (int64, error) {
	last, since := int64(-1), time.Now()
	for begin := time.Now(); ; {
		bytes, err := fileBytes(directory)
		if err != nil {
			return 0, err
		}
		if bytes != last {
			last, since = bytes, time.Now()
		}
		if time.Since(since) >= quiet || time.Since(begin) >= settleTime || ctx.Err() != nil {
			return bytes, context.Cause(ctx)
		}
		wait(ctx, 50*time.Millisecond)
	}
}

// fileBytes returns the sizes of all files below a directory. Those that vanish meanwhile count for nothing.
func fileBytes(directory string) (bytes int64, err error) {
	err = filepath.WalkDir(directory, func(_ string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			var info os.FileInfo
			if info, err = entry.Info(); err == nil {
				bytes += info.Size()
			}
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
	return bytes, err
}

// measureIdle returns the heap for each of many shards in a store that was opened with them, over that of one without.
func measureIdle(config *SpaceConfig, store Store) (perShard float64, err error) {
	heaps := [2]int64{}
	for i, shards := range [...]int{0, config.IdleShards} {
		directory, err := os.MkdirTemp(config.Directory, "idle")
		if err != nil {
			return 0, fmt.Errorf("logstore: %w", err)
		}
		heaps[i], err = idleHeap(store, directory, shards)
		if err = errors.Join(err, os.RemoveAll(directory)); err != nil {
			return 0, err
		}
	}
	return float64(heaps[1]-heaps[0]) / float64(config.IdleShards), nil
}

func idleHeap(store Store, directory string, shards int) (bytes int64, err error) {
	before := heapBytes()
	for open := range 2 {
		db, err := store.Open(directory, vfs.Default)
		if err != nil {
			return 0, err
		}
		if open == 0 {
			err = fillIdle(db, shards)
		} else {
			bytes = heapBytes() - before
		}
		if err = errors.Join(err, db.Close()); err != nil {
			return 0, err
		}
	}
	return bytes, nil
}

// fillIdle gives each shard what one has that did something once: its first records, a membership, a batch, and the compaction of that.
func fillIdle(db logdb.LogDB, shards int) error {
	g := newGatherer(db)
	done := make(chan error, 1)
	for shard := uint64(1); shard <= uint64(shards); {
		group := db.NewGroup()
		for ; shard <= uint64(shards) && group.Bytes() < roundBytes; shard++ {
			a := newAppender(g, shard, 16, 1, 1<<20)
			a.configs = []raftpb.ConfigRecord{{Index: 1, Membership: raftpb.Membership{ID: 1, Members: []raftpb.Member{
				{ReplicaID: 1, Kind: raftpb.Voter, Address: "127.0.0.1:1"}, {ReplicaID: 2, Kind: raftpb.Voter, Address: "127.0.0.1:2"}, {ReplicaID: 3, Kind: raftpb.Voter, Address: "127.0.0.1:3"},
			}}}}
			if err := a.addTo(group); err != nil {
				return err
			}
			group.Compact(a.key, a.last, 1)
		}
		g.submit(group, done)
		if err := <-done; err != nil {
			return err
		}
	}
	return nil
}

func countsOf(db logdb.LogDB) []benchmark.LogCounts {
	if reporter, ok := db.(logdb.MetricsReporter); ok {
		return []benchmark.LogCounts{{Store: reporter.Metrics()}}
	}
	return nil
}
