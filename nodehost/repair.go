package nodehost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
)

// Repair has the replica rebuilt from the others: it is made a learner of a new incarnation, which takes a quorum without it; only then is
// what it holds thrown away and everything fetched anew, and it becomes what it was. It returns once that is asked for;
// Events.ReplicaHealed tells that the replica begins anew. Until then a follower does what it did, and goes on asking: its leader has one replica
// of a shard repaired at a time, between changes of the members, and only while it hears a quorum of the others. A restart forgets that it
// was asked. A leader stops leading at once, so it is better asked to hand over first. Errors: ErrRepairRefused (healing is turned off,
// nobody else has the data, or the others are not known to have a leader and a quorum without it), ErrStopped, ErrFenced.
func (s *Shard) Repair(ctx context.Context) error {
	_, err := ask(ctx, s, mayChange, func(done func(struct{}, error)) {
		s.replica.Repair(func(err error) { done(struct{}{}, err) })
	})
	return err
}

// MarkForRepair makes a replica of a stopped host be rebuilt from the others when it is started next, as Shard.Repair does on a
// running one, but that it takes no part from its start on and nobody looks whether it is needed: mark one replica of a shard at a time. replicaID 0 stands for the only replica of the shard that
// the directory knows; one that it does not know is refused where it knows another one. Nothing but the record of promises is
// changed. files nil stands for the operating system's. Errors: ErrNoHost, ErrDirectoryLocked, ErrPromisesDamaged, ErrRepairRefused.
func MarkForRepair(dir string, files vfs.FS, shardID, replicaID uint64) (marked ReplicaName, err error) {
	if files == nil {
		files = vfs.Default
	}
	if _, err := files.Stat(files.PathJoin(dir, identityName)); errors.Is(err, fs.ErrNotExist) {
		return marked, fmt.Errorf("%w: %s has no file %s", ErrNoHost, dir, identityName)
	}
	lock, err := files.Lock(files.PathJoin(dir, lockName))
	if err != nil {
		return marked, fmt.Errorf("%w: %s: %w", ErrDirectoryLocked, dir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	promises, _, err := openPromises(files, dir)
	if err != nil {
		return marked, err
	}
	defer func() { err = errors.Join(err, promises.close()) }()
	if replicaID == 0 {
		if replicaID, err = promises.onlyReplica(shardID); err != nil {
			return marked, fmt.Errorf("%s: %w", dir, err)
		}
	}
	key := logdb.ReplicaKey{ShardID: shardID, ReplicaID: replicaID}
	if shardID == 0 {
		return marked, fmt.Errorf("%w: shard 0, accepted is 1 and above", ErrRepairRefused)
	}
	if err := promises.mayName(key); err != nil {
		return marked, fmt.Errorf("%s: %w", dir, err)
	}
	if err := promises.Record([]engine.PromiseRecord{{Key: key, Promised: raft.Lost()}}); err != nil {
		return marked, err
	}
	return ReplicaName{shardID, replicaID}, nil
}

// mayName refuses a replica of which nothing is recorded where something is of others of its shard: a mark for it would concern nobody, and stand in the way
// of onlyReplica. Of a shard of which nothing is recorded any replica may be named: the record may be what was lost.
func (p *promiseFile) mayName(key logdb.ReplicaKey) error {
	var others []string
	for _, record := range p.live() {
		switch {
		case record.Key == key:
			return nil
		case record.Key.ShardID == key.ShardID:
			others = append(others, fmt.Sprint(record.Key.ReplicaID))
		}
	}
	if len(others) == 0 {
		return nil
	}
	return fmt.Errorf("%w: replica %d: shard %d has replica %s here", ErrRepairRefused, key.ReplicaID, key.ShardID, strings.Join(others, ", "))
}

// onlyReplica returns the replica of a shard that something is recorded of.
func (p *promiseFile) onlyReplica(shardID uint64) (replicaID uint64, err error) {
	for _, record := range p.live() {
		if record.Key.ShardID != shardID {
			continue
		}
		if replicaID != 0 {
			return 0, fmt.Errorf("%w: shard %d has replicas %d and %d here, name one", ErrRepairRefused, shardID, replicaID, record.Key.ReplicaID)
		}
		replicaID = record.Key.ReplicaID
	}
	if replicaID == 0 {
		return 0, fmt.Errorf("%w: nothing is recorded of shard %d here, name the replica", ErrRepairRefused, shardID)
	}
	return replicaID, nil
}
