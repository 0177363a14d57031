package nodehost

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/internal/rebuild"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// hostStores are what a host stores, beside its identity, opened to be written to while it does not run.
type hostStores struct {
	rebuild.Stores
	promises *promiseFile
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
	s = &hostStores{Stores: rebuild.Stores{FS: d.fs, Dir: d.path}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
			s = nil
		}
	}()
	if s.promises, _, err = openPromises(d.fs, d.path); err != nil {
		return s, err
	}
	s.Promises = s.promises
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
	s.Log = db
	if s.Snapshots, err = snapshot.OpenDirectory(d.fs, d.join(snapshotsName)); err != nil {
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
	if s.Snapshots != nil {
		err = s.Snapshots.Close()
	}
	if s.Log != nil {
		err = errors.Join(err, s.Log.Close())
	}
	if s.promises != nil {
		err = errors.Join(err, s.promises.close())
	}
	return err
}
