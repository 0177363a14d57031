package engine

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// SnapshotPolicy says when snapshots of a replica are taken, and how much log is kept behind them. The zero value is useful: a
// snapshot for each 64 MiB of log, or for as much log as the last snapshot was long if that is more, so that what
// is written for snapshots is never more than what was written for the log.
//
// For a state machine on disk a snapshot is a Sync: nothing is written but what the machine itself does. It follows after some time, too. One
// that takes no snapshots has no use for a policy; its log is kept for ever.
type SnapshotPolicy struct {
	// Disabled turns off that snapshots are taken without being asked for. By hand they still are.
	Disabled bool
	// Entries, if not 0, lets a snapshot follow this many entries after the last one at the latest.
	Entries uint64
	// Bytes lets a snapshot follow this many bytes of log after the last one, unless the last one was longer than that: then as many
	// as it was long. Default DefaultSnapshotBytes.
	Bytes uint64
	// SyncInterval lets a Sync of a state machine on disk follow at the latest so long after a command was applied that is in none: what a
	// restart after a power cut has to replay of a shard with few writes is bounded by it, and a shard without any is left alone. It is for
	// no other kind of state machine. Default DefaultSyncInterval, at least 100 ms and at most an hour; a negative time lets Entries and Bytes alone decide.
	SyncInterval time.Duration
	// KeepEntries is how many entries are kept in the log below the newest snapshot, so that who is a little behind need not be
	// sent a snapshot. Default DefaultKeepEntries; a negative number keeps none.
	KeepEntries int64
	// Retain is how many snapshots are kept; the log is kept from the oldest of them on, so that each of them, with the log, is the whole
	// state: if one is damaged the one before it serves. Default DefaultRetainSnapshots, at most 100.
	Retain int
	// Compress compresses snapshots with zstd.
	Compress bool
}

// Defaults of SnapshotPolicy.
const (
	// DefaultSnapshotBytes bounds what a restart has to replay to about a second.
	DefaultSnapshotBytes = 64 << 20
	// DefaultSyncInterval lets ten thousand shards that are written to all the time sync about two hundred times a second together.
	DefaultSyncInterval = time.Minute
	// DefaultKeepEntries is some milliseconds of a busy shard, minutes of a quiet one.
	DefaultKeepEntries = 4096
	// DefaultRetainSnapshots leaves one to fall back on.
	DefaultRetainSnapshots = 2
)

const (
	minSyncInterval = 100 * time.Millisecond
	maxSyncInterval = time.Hour
)

func (p *SnapshotPolicy) setDefaults() {
	setDefault(&p.Bytes, DefaultSnapshotBytes)
	setDefault(&p.SyncInterval, DefaultSyncInterval)
	p.SyncInterval = max(p.SyncInterval, 0)
	setDefault(&p.KeepEntries, DefaultKeepEntries)
	setDefault(&p.Retain, DefaultRetainSnapshots)
	p.KeepEntries = max(p.KeepEntries, 0)
}

// Validate lists every fault.
func (p *SnapshotPolicy) Validate() error {
	var faults error
	if p.Retain < 0 || p.Retain > 100 {
		faults = errors.Join(faults, fmt.Errorf("Snapshots.Retain is %d, accepted is 0 (default) to 100", p.Retain))
	}
	if p.Bytes > math.MaxInt64 {
		faults = errors.Join(faults, fmt.Errorf("Snapshots.Bytes is %d, accepted is 0 (default) to %d", p.Bytes, int64(math.MaxInt64)))
	}
	if p.SyncInterval > 0 && (p.SyncInterval < minSyncInterval || p.SyncInterval > maxSyncInterval) {
		faults = errors.Join(faults, fmt.Errorf("Snapshots.SyncInterval is %s, accepted is 0 (default), a negative time (none), or %s to %s",
			p.SyncInterval, minSyncInterval, maxSyncInterval))
	}
	return faults
}

// snapshotMeter says when the next snapshot is due. It belongs to the apply worker that has the replica.
//
// Shards that are loaded alike would all be due at the same time, and again each time after that. So each interval is
// drawn anew, between half of what the policy says and all of it: ten thousand shards spread over half an interval with the first one,
// and stay apart.
type snapshotMeter struct {
	entries, bytes uint64 // since the last snapshot was prepared
	atEntries      uint64
	atBytes        uint64
	sync           syncInterval
	random         uint64
	policy         SnapshotPolicy
}

// begin starts an interval behind a snapshot of a length, 0 for none.
func (m *snapshotMeter) begin(length uint64) {
	m.entries, m.bytes = 0, 0
	m.sync.begin()
	m.atEntries, m.atBytes = math.MaxUint64, m.draw(max(m.policy.Bytes, length))
	if m.policy.Entries > 0 {
		m.atEntries = m.draw(m.policy.Entries)
	}
	if m.policy.Disabled {
		m.atEntries, m.atBytes = math.MaxUint64, math.MaxUint64
	}
}

// draw returns a number from half of n, but at least 1, up to n.
func (m *snapshotMeter) draw(n uint64) uint64 {
	m.random += 0x9e3779b97f4a7c15
	z := m.random
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return n - (z^(z>>31))%(n/2+1)
}

// note counts what was applied, and says whether a snapshot is due.
func (m *snapshotMeter) note(entries, bytes uint64) (due bool) {
	m.entries += entries
	m.bytes += bytes
	return m.entries >= m.atEntries || m.bytes >= m.atBytes
}
