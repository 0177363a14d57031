package rebuild

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// An import is decided by one file in the data directory: a snapshot of which the metadata name the shard, this host's replica, and the new
// membership with its incarnations. From then on it only goes forward, and whoever opens the directory next, another import or the host, does this:
//
//  1. one write of the log store removes what is stored of the shard, and makes the log of the new replica: it begins behind the snapshot, which is
//     to be installed (R25);
//  2. what replicas of the shard had promised is forgotten: the incarnations that promised are no members any more (R15);
//  3. snapshots of the shard are removed, and the file is linked to its name among the snapshots;
//  4. the file that has decided is removed.
//
// Each step may be done twice, and nothing runs in between, so a crash anywhere begins with the first again. The name in step 3 may be that of an older
// snapshot with another membership, which is why it comes after the log.
const importName = "import"

// FinishImport does what an import has decided, if there is one.
func (s *Stores) FinishImport() error {
	path := s.FS.PathJoin(s.Dir, importName)
	file, err := s.FS.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finish an import: %w", err)
	}
	reader, err := snapshot.NewReader(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("finish an import: %s: %w", path, err)
	}
	meta := reader.Meta()
	there, err := s.Replicas(meta.ShardID)
	if err == nil {
		err = s.begin(&meta, there)
	}
	if err == nil {
		err = s.replaceFiles(&meta, there, path)
	}
	if err == nil {
		err = s.FS.Remove(path)
	}
	if err == nil {
		err = syncDirectory(s.FS, s.Dir)
	}
	if err != nil {
		return fmt.Errorf("finish the import of replica %d of shard %d: %w", meta.ReplicaID, meta.ShardID, err)
	}
	return nil
}

// begin is steps 1 and 2.
func (s *Stores) begin(meta *raftpb.SnapshotMeta, there []logdb.ReplicaKey) error {
	bootstrap := raftpb.Bootstrap{Initial: meta.Config.Membership, Complete: true}
	for i := range bootstrap.Initial.Members {
		if member := &bootstrap.Initial.Members[i]; member.ReplicaID == meta.ReplicaID {
			bootstrap.Incarnation = member.Incarnation
		}
	}
	if bootstrap.Incarnation == 0 {
		return fmt.Errorf("%w: replica %d is no member of its membership", ErrImportRefused, meta.ReplicaID)
	}
	term, err := s.termOf(meta, there, bootstrap.Incarnation)
	if err != nil {
		return err
	}
	group := s.Log.NewGroup()
	var forgotten []engine.PromiseRecord
	for _, key := range there {
		group.Remove(key)
		forgotten = append(forgotten, engine.PromiseRecord{Key: key, Forgotten: true})
	}
	err = group.Save(&raftpb.Save{
		ShardID: meta.ShardID, ReplicaID: meta.ReplicaID, Bootstrap: &bootstrap, Installing: meta,
		State: raftpb.HardState{Term: term, Commit: meta.Index}, StateChanged: true, MustSync: true,
	})
	if err != nil {
		return err
	}
	if err := s.write(group); err != nil || len(forgotten) == 0 {
		return err
	}
	return s.Promises.Record(forgotten)
}

// termOf returns the term that the replica begins in. It is above those of the snapshot and of all that the host has of the shard, which may
// have been rebuilt since the snapshot was taken. It need not be the same on all hosts.
func (s *Stores) termOf(meta *raftpb.SnapshotMeta, there []logdb.ReplicaKey, incarnation uint64) (uint64, error) {
	highest := meta.Term
	for _, key := range there {
		stored, err := s.Log.Load(key)
		switch {
		case errors.Is(err, logdb.ErrNotFound) || errors.Is(err, logdb.ErrDamaged):
		case err != nil:
			return 0, err
		case stored.Bootstrap.Incarnation == incarnation: // this was done before a crash
			return stored.State.Term, nil
		default:
			highest = max(highest, stored.State.Term)
		}
	}
	return highest + raft.RebuiltTerms, nil
}

// replaceFiles is step 3.
func (s *Stores) replaceFiles(meta *raftpb.SnapshotMeta, there []logdb.ReplicaKey, path string) error {
	for _, key := range there {
		if err := s.Snapshots.Remove(key.ShardID, key.ReplicaID); err != nil {
			return err
		}
	}
	return s.Snapshots.Adopt(path, snapshot.Name{ShardID: meta.ShardID, ReplicaID: meta.ReplicaID, Index: meta.Index})
}
