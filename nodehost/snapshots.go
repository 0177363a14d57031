package nodehost

import (
	"context"
	"fmt"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// SnapshotPolicy says when snapshots of a replica are taken, and how much log is kept behind them; see its fields for the defaults.
type SnapshotPolicy = engine.SnapshotPolicy

// openSnapshots opens the directory of the host's snapshots. It comes after the identity, as the log does.
func (h *NodeHost) openSnapshots() (err error) {
	if h.snapshots, err = snapshot.OpenDirectory(h.config.FS, h.directory.join(snapshotsName)); err != nil {
		return fmt.Errorf("open snapshots: %w", err)
	}
	return nil
}

// Snapshot takes a snapshot of the replica on this host and returns its index once it is durable: everything that was applied here before the
// call is in it. For a state machine on disk it is a Sync. If nothing was applied since the last one, that one is the answer. Log that no
// snapshot needs any more, but for ReplicaConfig.Snapshots.KeepEntries, is removed afterwards. If ctx ends first the snapshot goes on.
//
// Snapshots are taken without being asked for, too, as ReplicaConfig.Snapshots says. Errors: ErrNoSnapshots, ErrNothingApplied, ErrSnapshotFailed
// with the cause, ErrDiskFull, ErrQuarantined, ErrWitness, ErrStopped, ErrInstalling while
// the state is replaced by another replica's, the cause of ctx.
func (s *Shard) Snapshot(ctx context.Context) (index uint64, err error) {
	return ask(ctx, s, nothingChanges, s.replica.Snapshot)
}
