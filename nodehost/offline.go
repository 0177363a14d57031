package nodehost

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/internal/overlayfs"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
)

// ErrNoHost says that a directory is not the data directory of a host.
var ErrNoHost = errors.New("flotilla: no host's data")

// OfflineHost is the data of a host that does not run, opened to be looked at. Nothing on disk is changed: whatever the log store's
// recovery writes goes to memory. While it is open no NodeHost can take the directory.
type OfflineHost struct {
	// Dir is the data directory; Deployment and Address are as stored with the data.
	Dir, Deployment, Address string
	// HostID is the host's random number, Epoch counts its starts.
	HostID, Epoch uint64
	// LogDB is the log store. It must not be written to.
	LogDB logdb.LogDB

	files vfs.FS
	lock  io.Closer
}

// LogFile is a file of a log store.
type LogFile struct {
	Path  string
	Bytes int64
}

// OpenOffline opens the data directory of a stopped host. files nil stands for the operating system's, open nil for the log store
// that the directory was made with, whose lanes, if it has several, are found as seglog.LaneDirectories says. Errors: ErrNoHost, ErrDirectoryLocked if the host runs, ErrIdentityDamaged, those of the log store.
func OpenOffline(dir string, files vfs.FS, open func(LogDBContext) (logdb.LogDB, error)) (*OfflineHost, error) {
	if files == nil {
		files = vfs.Default
	}
	content, err := readFile(files, files.PathJoin(dir, identityName), identityMaxLength)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s has no file %s", ErrNoHost, dir, identityName)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIdentityDamaged, err)
	}
	id, err := decodeIdentity(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	lock, err := overlayfs.New(files).Lock(files.PathJoin(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDirectoryLocked, dir, err)
	}
	if open == nil {
		open = PebbleLog(pebblelog.Options{})
		if seglog.Exists(files, files.PathJoin(dir, logName)) {
			lanes, err := seglog.LaneDirectories(files, files.PathJoin(dir, logName))
			if err != nil {
				return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), lock.Close())
			}
			open = SegmentedLog(seglog.Options{Directories: lanes, SegmentBytes: seglog.MinSegmentBytes, Manual: true, Buffered: true})
		}
	}
	db, err := open(LogDBContext{
		Dir: files.PathJoin(dir, logName), FS: overlayfs.New(files), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), lock.Close())
	}
	return &OfflineHost{
		Dir: dir, Deployment: id.deployment, Address: id.address, HostID: id.hostID, Epoch: id.epoch, LogDB: db,
		files: files, lock: lock,
	}, nil
}

// Close releases the directory.
func (o *OfflineHost) Close() error { return errors.Join(o.LogDB.Close(), o.lock.Close()) }

// LogFiles returns the files of the log store that are on disk, in the order of their paths. LogDB may show others: what its recovery writes is in memory.
func (o *OfflineHost) LogFiles() (found []LogFile, err error) {
	directories := []string{o.files.PathJoin(o.Dir, logName)}
	if several, ok := o.LogDB.(logdb.DirectoryReporter); ok {
		directories = several.Directories()
	}
	for _, directory := range directories {
		names, err := o.files.List(directory)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", directory, err)
		}
		slices.Sort(names)
		for _, name := range names {
			path := o.files.PathJoin(directory, name)
			info, err := o.files.Stat(path)
			if err != nil {
				return nil, err
			}
			found = append(found, LogFile{path, info.Size()})
		}
	}
	return found, nil
}

// FindHosts returns the data directories of hosts at or directly below a directory, in the order of their names. files nil stands for the
// operating system's. The error is ErrNoHost if there is none.
func FindHosts(dir string, files vfs.FS) ([]string, error) {
	if files == nil {
		files = vfs.Default
	}
	isHost := func(path string) bool {
		_, err := files.Stat(files.PathJoin(path, identityName))
		return err == nil
	}
	if isHost(dir) {
		return []string{dir}, nil
	}
	names, err := files.List(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoHost, err)
	}
	slices.Sort(names) // a real directory lists them in any order
	var hosts []string
	for _, name := range names {
		if path := files.PathJoin(dir, name); isHost(path) {
			hosts = append(hosts, path)
		}
	}
	if len(hosts) == 0 {
		return nil, fmt.Errorf("%w: neither %s nor a directory in it has a file %s", ErrNoHost, dir, identityName)
	}
	return hosts, nil
}
