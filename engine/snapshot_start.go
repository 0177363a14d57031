package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// How a state machine comes up:
//
//   - one in memory recovers from the newest snapshot that is whole and reaches the log; with none, and a log that begins at its beginning, it is
//     replayed from there. A snapshot that is damaged is said to be (EventSnapshotDamaged), and the one before it is taken; it is removed
//     once another one has served. If none is left and the log does not begin at its beginning the replica is damaged: it is healed like
//     one with a damaged log;
//   - one on disk says itself where it is. If the log does not go back that far it has lost something, and the replica is damaged;
//   - if the log says that a snapshot was being installed, nothing is believed of the machine before it has recovered from that one (R25).
//
// A snapshot of a later format, or of a later version of the state machine, is the start's error: the program was set back, and nothing is lost.
//
// Then the log is replayed from there on. A machine that fails to recover from a snapshot which is whole is quarantined, not passed over:
// it would fail on another host too.
//
// Of a snapshot that was received and not said to be installed when a crash came, nothing is known but that it is somebody's: it is
// removed. Of one that the replica took itself everything was once in its log. If the log ends before it, the log has lost
// something, and the replica abstains (R14).

// openMachine brings the state machine up and then goes on with the start. What may take long is done as a job, watched and bounded.
func (s *start) openMachine(fresh bool) {
	_, onDisk := s.machine.(rsm.OnDisk)
	if fresh && len(s.files()) > 0 {
		s.opened(fresh, fmt.Errorf("%w: shard %d, replica %d: there are snapshots, and nothing in the log: it was lost, or removed by hand",
			ErrSnapshotDamaged, s.options.ShardID, s.options.ReplicaID))
		return
	}
	if !onDisk && (s.damaged || len(s.files()) == 0) {
		s.opened(fresh, s.open(context.Background(), nil))
		return
	}
	job := newUserJob("recovery of its state machine", s.options.ShardID, s.options.ReplicaID)
	var answered atomic.Bool
	done := s.done
	s.done = func(r *Replica, err error) {
		if !answered.Swap(true) {
			done(r, err)
		}
	}
	err := fmt.Errorf("%w: shard %d: its state machine was not brought up", ErrFenced, s.options.ShardID)
	job.run = func() { err = s.open(job.ctx, job) }
	job.after = func() {
		if cause := context.Cause(job.ctx); cause != nil {
			err = cause
		}
		s.opened(fresh, err)
	}
	job.abandon = func() {
		s.done(nil, fmt.Errorf("%w: shard %d: its state machine does not come up", ErrStuck, s.options.ShardID))
	}
	s.engine.recovering.submit(job)
}

// files are the snapshots of the replica, newest first.
func (s *start) files() []snapshot.Name {
	if s.engine.options.Snapshots == nil {
		return nil
	}
	return s.engine.options.Snapshots.List(s.options.ShardID, s.options.ReplicaID)
}

// opened goes on with the start.
func (s *start) opened(fresh bool, err error) {
	if err != nil {
		stored, ok := s.engine.startDamaged(&s.options, err)
		if !ok {
			s.fail(err)
			return
		}
		s.stored, s.damaged, s.applied, fresh = stored, true, 0, false
		if err := s.begin(); err != nil {
			s.fail(err)
			return
		}
	}
	if fresh {
		s.writeBootstrap()
	} else {
		s.install()
	}
}

// begin brings the state machine of a damaged replica to the beginning of the log. What is stored stays until the replica is healed.
func (s *start) begin() error {
	if s.manager == nil || s.manager.Failure() != nil {
		if err := s.remake(context.Background()); err != nil {
			return err
		}
	}
	return s.startAt(0)
}

// remake makes the state machine anew: what is left of a recovery that failed half way is good for nothing.
func (s *start) remake(ctx context.Context) (err error) {
	if s.manager != nil {
		_ = s.manager.Close()
	} else {
		_ = rsm.NewManager(s.machine, 0).Close()
	}
	s.manager = nil
	if s.machine, err = makeMachine(s.factory, s.options.ShardID, s.options.ReplicaID); err != nil {
		return err
	}
	return s.openManager(ctx)
}

func (s *start) openManager(ctx context.Context) (err error) {
	open := rsm.OpenManager
	if s.stored.Installing != nil && !s.damaged && !s.options.Raft.Witness {
		open = rsm.OpenManagerToRecover
	}
	if s.manager, err = open(ctx, s.machine); err != nil {
		return fmt.Errorf("shard %d: %w", s.options.ShardID, err)
	}
	return nil
}

// open brings the state machine to some place in the log, which is s.applied.
func (s *start) open(ctx context.Context, job *userJob) error {
	if err := s.openManager(ctx); err != nil {
		return err
	}
	stored := &s.stored
	switch kind := s.manager.Kind(); {
	case s.damaged:
		return s.startAt(0)
	case s.options.Raft.Witness:
		s.applied = stored.Compacted
		return s.startAt(stored.Compacted)
	case stored.Installing != nil:
		return s.recoverInstalling(ctx, job)
	case kind == rsm.KindOnDisk && s.manager.Opened() >= stored.Compacted:
		s.removeFiles(s.files())       // received, and not installed or not needed any more
		s.applied = s.manager.Opened() // beyond the log's end, the core sees that something was lost
		return s.startAt(min(s.applied, stored.Last))
	}
	damaged, recovered, err := s.recoverNewest(ctx, job)
	if err == nil && (recovered || stored.Compacted == 0) {
		s.removeFiles(damaged) // they are not needed
	}
	switch {
	case err != nil || recovered:
		return err
	case stored.Compacted == 0:
		return s.startAt(0)
	case s.manager.Kind() == rsm.KindReplayed:
		return fmt.Errorf("%w: shard %d: its log begins behind entry %d", ErrNoSnapshots, s.options.ShardID, stored.Compacted)
	case s.manager.Kind() == rsm.KindOnDisk:
		return fmt.Errorf("%w: shard %d: %w", ErrSnapshotDamaged, s.options.ShardID, s.manager.StartAt(stored.Compacted, 0, raftpb.ConfigRecord{}))
	}
	return fmt.Errorf("%w: shard %d, replica %d: its log begins behind entry %d, and no snapshot reaches it", ErrSnapshotDamaged,
		s.options.ShardID, s.options.ReplicaID, stored.Compacted)
}

func (s *start) startAt(index uint64) error {
	term, _ := termAt(&s.stored, index)
	return s.manager.StartAt(index, term, configAt(&s.stored, index))
}

// recoverNewest tries the snapshots from the newest on, and returns those that are known to be damaged. Nothing is recovered, without an error, if
// there is none to be tried.
func (s *start) recoverNewest(ctx context.Context, job *userJob) (damaged []snapshot.Name, recovered bool, err error) {
	for _, name := range s.files() {
		if name.Index < s.stored.Compacted {
			break
		}
		err := s.recoverFrom(ctx, job, name)
		switch {
		case err == nil:
			return damaged, true, nil
		case errors.Is(err, errNotInstalled):
			s.removeFiles([]snapshot.Name{name})
			continue
		case !errors.Is(err, ErrSnapshotDamaged):
			return nil, false, err
		}
		s.snapshotDamaged(err)
		if isDamagedSnapshot(err) { // one that could not be read today may be whole
			damaged = append(damaged, name)
		}
		if err := s.remake(ctx); err != nil {
			return nil, false, err
		}
	}
	return damaged, false, nil
}

func (s *start) snapshotDamaged(err error) {
	s.engine.options.Logger.Error("snapshot is damaged", "shard", s.options.ShardID, "replica", s.options.ReplicaID, "error", err)
	s.engine.events.publish(Event{Kind: EventSnapshotDamaged, ShardID: s.options.ShardID, ReplicaID: s.options.ReplicaID, Err: err})
}

func (s *start) removeFiles(names []snapshot.Name) {
	for _, name := range names {
		if err := s.engine.options.Snapshots.RemoveOne(name); err != nil {
			s.engine.options.Logger.Warn("snapshot is not removed", "shard", s.options.ShardID, "error", err)
		}
	}
}

// recoverInstalling recovers from the snapshot behind which the log was begun anew. What the state machine had before is of no account.
func (s *start) recoverInstalling(ctx context.Context, job *userJob) error {
	name := snapshot.Name{ShardID: s.options.ShardID, ReplicaID: s.options.ReplicaID, Index: s.stored.Installing.Index}
	if s.engine.options.Snapshots == nil {
		return fmt.Errorf("%w: shard %d: the host keeps none", ErrSnapshotDamaged, s.options.ShardID)
	}
	if err := s.recoverFrom(ctx, job, name); err != nil {
		if errors.Is(err, ErrSnapshotDamaged) {
			s.snapshotDamaged(err)
		}
		return err
	}
	if s.manager.Failure() == nil {
		_ = s.manager.Sync() // its failure is the machine's
	}
	if s.manager.Failure() != nil {
		s.applied = 0 // it is still to be installed
	}
	return nil
}

// errNotInstalled is of a snapshot that was received and not installed.
var errNotInstalled = errors.New("snapshot was not installed")

// recoverFrom lets the state machine recover from one snapshot. ErrSnapshotDamaged is the snapshot's fault. A state machine that fails is
// none of the start's: it is quarantined.
func (s *start) recoverFrom(ctx context.Context, job *userJob, name snapshot.Name) error {
	directory := s.engine.options.Snapshots
	damaged := func(cause error) error {
		return fmt.Errorf("%w: %s: %w", ErrSnapshotDamaged, directory.Path(name), cause)
	}
	file, err := directory.Open(name)
	if err != nil {
		return damaged(err)
	}
	defer func() { _ = file.Close() }() // it was only read
	source := &movingReader{from: file, job: job, yield: s.engine.options.Yield}
	reader, err := snapshot.NewReader(source)
	if errors.Is(err, snapshot.ErrVersion) { // no damage: another program is wanted
		return fmt.Errorf("%s: %w", directory.Path(name), err)
	}
	if err != nil {
		return damaged(err)
	}
	meta := reader.Meta()
	if err := s.checkMeta(&meta, name); err != nil {
		if errors.Is(err, errNotInstalled) {
			return err
		}
		return damaged(err)
	}
	if meta.Index > s.stored.Last {
		s.applied = meta.Index // the core sees that something was lost
		return s.startAt(s.stored.Compacted)
	}
	err = s.manager.Recover(ctx, reader)
	if err == nil {
		s.recovered(meta.Index)
		return nil
	}
	return s.recoverFailed(ctx, err, source, reader, damaged, meta.Index)
}

func (s *start) recovered(index uint64) {
	s.applied = index
	s.engine.counts.recoveries.Add(1)
}

// recoverFailed finds out whose fault it was.
func (s *start) recoverFailed(ctx context.Context, err error, source *movingReader, reader *snapshot.Reader, damaged func(error) error, index uint64) error {
	switch {
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case s.manager.Failure() == nil: // the machine was not touched
		return fmt.Errorf("shard %d: %w", s.options.ShardID, err)
	case source.err != nil:
		return damaged(source.err)
	}
	if _, sticky := reader.Next(); isDamagedSnapshot(sticky) {
		return damaged(sticky)
	}
	s.applied = index
	return nil
}

func isDamagedSnapshot(err error) bool {
	return errors.Is(err, snapshot.ErrDamaged) || errors.Is(err, snapshot.ErrTruncated) || errors.Is(err, snapshot.ErrForeign)
}

// checkMeta compares a snapshot with its name and with the log.
func (s *start) checkMeta(meta *raftpb.SnapshotMeta, name snapshot.Name) error {
	if meta.ShardID != name.ShardID || meta.Index != name.Index {
		return fmt.Errorf("%w: it is of shard %d at index %d", snapshot.ErrForeign, meta.ShardID, meta.Index)
	}
	term, there := termAt(&s.stored, meta.Index)
	fits := there && term == meta.Term
	switch {
	case fits || meta.Index > s.stored.Last && meta.ReplicaID == s.options.ReplicaID:
		return nil
	case meta.ReplicaID != s.options.ReplicaID:
		return errNotInstalled
	}
	return fmt.Errorf("%w: it is of term %d, the log has term %d at index %d", snapshot.ErrForeign, meta.Term, term, meta.Index)
}

// termAt returns the term of a stored entry, or of the one before the first.
func termAt(stored *raftpb.Stored, index uint64) (term uint64, there bool) {
	if index < stored.Compacted || index > stored.Last {
		return 0, false
	}
	term = stored.CompactedTerm
	for _, start := range stored.Terms {
		if start.First <= index {
			term = start.Term
		}
	}
	return term, true
}

// beginSnapshots lets snapshots be taken of a replica that was just started: what it has, and from where it counts.
func (s *start) beginSnapshots(r *Replica) {
	p := s.options.Snapshots
	p.setDefaults()
	r.snapshots.policy = p
	r.snapshots.meter.policy = p
	if r.takesSnapshots() != nil {
		r.snapshots.meter.policy.Disabled = true
		r.snapshots.meter.begin(0)
		return
	}
	r.snapshots.meter.random = r.engine.options.Random()
	if r.machine.Kind() == rsm.KindOnDisk {
		if !p.Disabled {
			r.snapshots.meter.sync.length = p.SyncInterval
		}
	} else {
		if names := s.files(); len(names) > 0 && names[0].Index <= s.applied {
			r.snapshots.newest = names[0]
			if size, err := r.engine.options.Snapshots.Size(names[0]); err == nil {
				r.snapshots.length = uint64(size)
			}
		}
	}
	r.snapshots.meter.begin(r.snapshots.length)
}

// catchUpCompaction lets log go that a crash has kept, between a snapshot and the record that it is not needed any more.
func (r *Replica) catchUpCompaction() {
	if r.snapshots.newest.Index > 0 {
		r.retain()
	} else if r.takesSnapshots() == nil && r.machine.Kind() == rsm.KindOnDisk {
		r.compactBehind(r.machine.SyncedIndex(), r.machine.SyncedIndex())
	}
}
