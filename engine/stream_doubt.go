package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// A snapshot that rots on its source's disk is found by who receives it: chunks come as they were read, so their checksums hold, and the file's do
// not. The receiver says so (a last pull with ReasonDamaged), takes another source, and would be sent the same bytes whenever it is this one's
// turn again. So the source looks for itself. It believes nobody: only a file that it finds damaged goes, and a new snapshot is taken in its place.

// doubt says to the source that what it sent is no whole snapshot.
func (r *receiver) doubt(stream *incoming, err error) {
	if isDamagedSnapshot(err) {
		r.send(stream, 0, raftpb.ReasonDamaged)
	}
}

// doubted follows such a pull.
func (s *sender) doubted(m *raftpb.Message, from string) {
	stream := s.find(streamKey{m.ShardID, m.From, m.FromSession, m.HintIndex, from})
	if stream == nil || m.ToSession != stream.life {
		return
	}
	s.drop(stream)
	s.engine.counts.streamsFailed.Add(1)
	if _, isFile := stream.bytes.(*fileBytes); isFile {
		stream.replica.verifySnapshot(snapshot.Name{ShardID: stream.key.shardID, ReplicaID: stream.source, Index: stream.index})
	}
}

// verifySnapshot reads a snapshot of a replica, one at a time, as a job: it may be long. It ends with the taking of snapshots: who is renewed or
// started again may have a good one under the same name soon.
func (r *Replica) verifySnapshot(name snapshot.Name) {
	job := newUserJob("verification of a snapshot", r.shardID, r.replicaID)
	job.replica = r
	err := errStreamClosed
	job.run = func() { err = r.readSnapshot(job, name) }
	job.after = func() {
		if r.snapshots.verified() && isDamagedSnapshot(err) {
			r.replaceDamaged(name, err)
		}
	}
	if r.snapshots.verify(job) {
		r.engine.saving.submit(job)
	}
}

// verify takes note of a verification, if none is under way and snapshots are taken at all.
func (s *replicaSnapshots) verify(job *userJob) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.verification != nil || s.ended != nil {
		return false
	}
	s.verification = job
	return true
}

// verified ends it, and says whether what it found still matters.
func (s *replicaSnapshots) verified() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	matters := context.Cause(s.verification.ctx) == nil && s.ended == nil
	s.verification = nil
	return matters
}

func (r *Replica) readSnapshot(job *userJob, name snapshot.Name) error {
	file, err := r.engine.options.Snapshots.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	_, err = snapshot.Verify(&endingReader{movingReader{from: file, job: job, yield: r.engine.options.Yield}}, nil)
	return err
}

// endingReader ends with its job.
type endingReader struct{ movingReader }

// Read implements io.Reader.
func (r *endingReader) Read(data []byte) (int, error) {
	if cause := context.Cause(r.job.ctx); cause != nil {
		return 0, cause
	}
	return r.movingReader.Read(data)
}

// replaceDamaged removes a snapshot that is damaged for sure, and takes another one. Nothing is lost with it: it could not be recovered from.
func (r *Replica) replaceDamaged(name snapshot.Name, cause error) {
	directory := r.engine.options.Snapshots
	err := fmt.Errorf("%w: %s: %w", ErrSnapshotDamaged, directory.Path(name), cause)
	r.engine.options.Logger.Error("snapshot is damaged", "shard", r.shardID, "replica", r.replicaID, "error", err)
	r.engine.events.publish(Event{Kind: EventSnapshotDamaged, ShardID: r.shardID, ReplicaID: r.replicaID, Index: name.Index, Err: err})
	if err := directory.RemoveOne(name); err != nil {
		r.engine.options.Logger.Warn("snapshot is not removed", "shard", r.shardID, "error", err)
		return
	}
	s := &r.snapshots
	s.mu.Lock()
	if s.newest == name {
		s.newest, s.length = snapshot.Name{}, 0 // else nothing would have to be done for another one of the same entry
	}
	s.mu.Unlock()
	r.Snapshot(func(_ uint64, err error) {
		if err != nil && !errors.Is(err, ErrStopped) && !errors.Is(err, ErrInstalling) {
			r.engine.options.Logger.Warn("no snapshot takes the place of a damaged one", "shard", r.shardID, "replica", r.replicaID, "error", err)
		}
	})
}
