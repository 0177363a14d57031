package nodehost

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// An import is decided by one file in the data directory: a snapshot of which the metadata name the shard, this host's replica, and the new
// membership with its incarnations. From then on it only goes forward, and whoever opens the directory next, ImportSnapshot itself or New, does this:
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

// importTermJump lies between the terms of the former shard and those of the new one: no entry of one has term and index of
// one of the other, and a replica of the former shard does not win an election of the new one by its term.
const importTermJump = 1 << 20

// hostStores are what a host stores, beside its identity.
type hostStores struct {
	fs        vfs.FS
	dir       string
	log       logdb.LogDB
	snapshots *snapshot.Directory
	promises  *promiseFile
}

// holdDirectory locks a directory that holds a host's data, as it is. Errors: ErrNoHost, ErrDirectoryLocked, ErrIdentityDamaged.
func holdDirectory(system vfs.FS, dir string) (d *directory, err error) {
	d = &directory{fs: system, path: dir}
	content, err := readFile(system, d.join(identityName), identityMaxLength)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s has no file %s", ErrNoHost, dir, identityName)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIdentityDamaged, err)
	}
	if d.identity, err = decodeIdentity(content); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if d.lock, err = system.Lock(d.join(lockName)); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDirectoryLocked, dir, err)
	}
	return d, nil
}

// openStores opens what the host of a held directory stores, to be written to.
func openStores(d *directory, open func(LogDBContext) (logdb.LogDB, error)) (s *hostStores, err error) {
	s = &hostStores{fs: d.fs, dir: d.path}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
			s = nil
		}
	}()
	if s.promises, _, err = openPromises(d.fs, d.path); err != nil {
		return s, err
	}
	if err = makeDir(d.fs, d.join(logName)); err != nil {
		return s, err
	}
	if open == nil {
		if open, err = storeOf(d); err != nil {
			return s, err
		}
	}
	db, err := open(LogDBContext{Dir: d.join(logName), FS: d.fs, Logger: discard(), HostID: d.identity.hostID})
	if err != nil {
		return s, fmt.Errorf("open log store: %w", err)
	}
	s.log = db
	if s.snapshots, err = snapshot.OpenDirectory(d.fs, d.join(snapshotsName)); err != nil {
		return s, fmt.Errorf("open snapshots: %w", err)
	}
	return s, nil
}

// storeOf finds out which log store a directory was made with; an empty one is for the default.
func storeOf(d *directory) (func(LogDBContext) (logdb.LogDB, error), error) {
	path := d.join(logName)
	if seglog.Exists(d.fs, path) {
		lanes, err := seglog.LaneDirectories(d.fs, path)
		return SegmentedLog(seglog.Options{Directories: lanes}), err
	}
	names, err := d.fs.List(path)
	if err != nil || len(names) > 0 {
		return PebbleLog(pebblelog.Options{}), err
	}
	return SegmentedLog(seglog.Options{}), nil
}

func (s *hostStores) close() error {
	var err error
	if s.snapshots != nil {
		err = s.snapshots.Close()
	}
	if s.log != nil {
		err = errors.Join(err, s.log.Close())
	}
	if s.promises != nil {
		err = errors.Join(err, s.promises.close())
	}
	return err
}

// replicas returns every replica of a shard of which anything is there.
func (s *hostStores) replicas(shardID uint64) (there []ReplicaName, err error) {
	add := func(shard, replica uint64) {
		if name := (ReplicaName{shard, replica}); shard == shardID && !slices.Contains(there, name) {
			there = append(there, name)
		}
	}
	keys, err := s.log.List()
	if err != nil {
		return nil, fmt.Errorf("list replicas: %w", err)
	}
	for _, key := range keys {
		add(key.ShardID, key.ReplicaID)
	}
	for _, name := range s.snapshots.All() {
		add(name.ShardID, name.ReplicaID)
	}
	for _, record := range s.promises.live() {
		add(record.Key.ShardID, record.Key.ReplicaID)
	}
	return there, nil
}

// describe says what is there of a replica.
func (s *hostStores) describe(name ReplicaName) string {
	text := fmt.Sprintf("replica %d", name.ReplicaID)
	stored, err := s.log.Load(logdb.ReplicaKey{ShardID: name.ShardID, ReplicaID: name.ReplicaID})
	switch {
	case err == nil:
		text += fmt.Sprintf(" with a log up to entry %d of term %d", stored.Last, lastTerm(&stored))
	case errors.Is(err, logdb.ErrNotFound):
		text += " without a log"
	default:
		text += fmt.Sprintf(" with a log that cannot be read (%v)", err)
	}
	return fmt.Sprintf("%s and %d snapshots", text, len(s.snapshots.List(name.ShardID, name.ReplicaID)))
}

func lastTerm(stored *raftpb.Stored) uint64 {
	if n := len(stored.Terms); n > 0 {
		return stored.Terms[n-1].Term
	}
	return stored.CompactedTerm
}

// finishImport does what an import has decided, if there is one.
func (s *hostStores) finishImport() error {
	path := s.fs.PathJoin(s.dir, importName)
	file, err := s.fs.Open(path)
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
	there, err := s.replicas(meta.ShardID)
	if err == nil {
		err = s.begin(&meta, there)
	}
	if err == nil {
		err = s.replaceFiles(&meta, there, path)
	}
	if err == nil {
		err = s.fs.Remove(path)
	}
	if err == nil {
		err = syncDir(s.fs, s.dir)
	}
	if err != nil {
		return fmt.Errorf("finish the import of replica %d of shard %d: %w", meta.ReplicaID, meta.ShardID, err)
	}
	return nil
}

// begin is steps 1 and 2.
func (s *hostStores) begin(meta *raftpb.SnapshotMeta, there []ReplicaName) error {
	bootstrap := raftpb.Bootstrap{Initial: meta.Config.Membership, Complete: true}
	for i := range bootstrap.Initial.Members {
		if member := &bootstrap.Initial.Members[i]; member.ReplicaID == meta.ReplicaID {
			bootstrap.Incarnation = member.Incarnation
		}
	}
	if bootstrap.Incarnation == 0 {
		return fmt.Errorf("%w: replica %d is no member of its membership", ErrImportRefused, meta.ReplicaID)
	}
	group := s.log.NewGroup()
	var forgotten []engine.PromiseRecord
	for _, name := range there {
		key := logdb.ReplicaKey{ShardID: name.ShardID, ReplicaID: name.ReplicaID}
		group.Remove(key)
		forgotten = append(forgotten, engine.PromiseRecord{Key: key, Forgotten: true})
	}
	err := group.Save(&raftpb.Save{
		ShardID: meta.ShardID, ReplicaID: meta.ReplicaID, Bootstrap: &bootstrap, Installing: meta,
		State: raftpb.HardState{Term: meta.Term + importTermJump, Commit: meta.Index}, StateChanged: true, MustSync: true,
	})
	if err != nil {
		return err
	}
	durable := make(chan error, 1)
	s.log.Commit([]logdb.Group{group}, func(err error) { durable <- err })
	if err := <-durable; err != nil || len(forgotten) == 0 {
		return err
	}
	return s.promises.Record(forgotten)
}

// replaceFiles is step 3.
func (s *hostStores) replaceFiles(meta *raftpb.SnapshotMeta, there []ReplicaName, path string) error {
	for _, name := range there {
		if err := s.snapshots.Remove(name.ShardID, name.ReplicaID); err != nil {
			return err
		}
	}
	return s.snapshots.Adopt(path, snapshot.Name{ShardID: meta.ShardID, ReplicaID: meta.ReplicaID, Index: meta.Index})
}
