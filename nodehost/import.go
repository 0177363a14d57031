package nodehost

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/internal/rebuild"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// ErrImportRefused says that a snapshot is not imported, and why. Nothing was changed.
var ErrImportRefused = rebuild.ErrImportRefused

// ImportOptions configure ImportSnapshot.
type ImportOptions struct {
	// Dir is the data directory of a host that does not run. If it holds no host's data yet it is made for a host of Deployment
	// (default: that of Config) at Address, which then has to be given.
	Dir, Deployment, Address string
	// File is the exported snapshot. It is only read.
	File string
	// ShardID is the shard that is to begin with it, which is the one that it was taken of. ReplicaID is the replica on this host.
	ShardID, ReplicaID uint64
	// Members are the voters that the shard begins with, with their addresses; that of ReplicaID is this host's. The same snapshot has to be
	// imported for each of them, with the same Members and the same Recovery, before a majority of them is started. Everybody else joins later.
	// A host that was lost gets a new replica ID.
	Members map[uint64]string
	// Recovery is a number for this act of recovery: the same on all hosts, and another one each time, for the incarnations of the
	// replicas follow from it. Required for more than one member. Default: drawn.
	Recovery uint64
	// Force throws away what the host has of the shard, which is otherwise a reason to refuse.
	Force bool
	// FS holds Dir and File. Default: the operating system's.
	FS vfs.FS
	// LogDB opens the log store. Default: the one that the directory was made with, that of Config for a new one.
	LogDB func(LogDBContext) (logdb.LogDB, error)
	// Progress, if not nil, is told how many bytes of File were read, of how many: it is read twice.
	Progress func(bytes, of uint64)
}

// Imported says what ImportSnapshot did.
type Imported struct {
	Summary  snapshot.Summary // of the file that was imported
	Config   raftpb.Membership
	Recovery uint64
	// ThrownAway are the replicas of the shard that the host had.
	ThrownAway []ReplicaName
}

// ImportSnapshot begins a shard anew from an exported snapshot, on a host that does not run: the replica that is started next has the state of the
// snapshot, a new incarnation, and Members as the membership. Whatever was decided after the snapshot is gone.
//
// It happens as a whole or not at all: a crash before its end leaves the host as it was, or with the import decided, and the next New, or the
// next import, finishes it. Files that differ in a single byte, or different Members or numbers, lead to other incarnations, so that hosts that
// were given different ones find no quorum instead of two states.
//
// Replicas of the shard's former members that come back and reach one of the new ones are told that they were removed. Those that are a
// quorum of the former membership and reach none of the new ones cannot be told: do not start them again.
//
// Errors: ErrImportRefused with the reason (the snapshot package's errors for a file that is damaged, cut off, foreign or of a later version), ErrDirectoryLocked,
// ErrIdentityDamaged, those of the log store and the file system.
func ImportSnapshot(options ImportOptions) (imported Imported, err error) {
	i := &importing{options: options, fs: options.FS}
	if i.fs == nil {
		i.fs = vfs.Default
	}
	if err := i.check(); err != nil {
		return imported, refused(err)
	}
	act := rebuild.Import{ShardID: options.ShardID, ReplicaID: options.ReplicaID, Members: options.Members, Recovery: i.options.Recovery, File: i.read}
	if imported.Summary, imported.Config, err = act.Verify(); err != nil {
		return imported, refused(fmt.Errorf("%s: %w", options.File, err))
	}
	imported.Recovery = i.options.Recovery
	directory, err := i.open()
	if err != nil {
		return imported, err
	}
	defer func() { err = errors.Join(err, directory.close()) }()
	stores, err := openStores(directory, i.options.LogDB)
	if err != nil {
		return imported, err
	}
	defer func() { err = errors.Join(err, stores.close()) }()
	if err := stores.FinishImport(); err != nil { // of another one
		return imported, err
	}
	if imported.ThrownAway, err = i.replaced(stores); err != nil {
		return imported, err
	}
	if err := act.Decide(&stores.Stores); err != nil {
		return imported, err
	}
	return imported, stores.FinishImport()
}

func refused(err error) error { return fmt.Errorf("%w: %w", ErrImportRefused, err) }

// importing is one call of ImportSnapshot.
type importing struct {
	options ImportOptions
	fs      vfs.FS
}

// check looks at the options, and draws the number.
func (i *importing) check() error {
	o := &i.options
	switch {
	case o.ShardID == 0 || o.ReplicaID == 0:
		return fmt.Errorf("%w: shard %d, replica %d, accepted is 1 and above", ErrInvalidConfig, o.ShardID, o.ReplicaID)
	case o.Members[o.ReplicaID] == "":
		return fmt.Errorf("%w: Members: replica %d is none of them", ErrInvalidConfig, o.ReplicaID)
	case len(o.Members) > 1 && o.Recovery == 0:
		return fmt.Errorf("%w: Recovery: 0, want the same other number for all of %d members", ErrInvalidConfig, len(o.Members))
	}
	addresses := make(map[string]uint64)
	for _, id := range slices.Sorted(maps.Keys(o.Members)) {
		address := o.Members[id]
		if other := addresses[address]; other != 0 || id == 0 || address == "" {
			return fmt.Errorf("%w: Members: replica %d at %q, want numbers from 1 on, each at an address of its own", ErrInvalidConfig, id, address)
		}
		addresses[address] = id
	}
	for o.Recovery == 0 {
		o.Recovery = rand.Uint64()
	}
	return nil
}

// read opens the file, and tells of the progress: part is 0 for the first time, 1 for the second.
func (i *importing) read(part uint64, read func(io.Reader) error) error {
	file, err := i.fs.Open(i.options.File, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return err
	}
	size := uint64(info.Size())
	return read(&countingReader{from: file, bytes: part * size, of: 2 * size, progress: i.options.Progress})
}

type countingReader struct {
	from      io.Reader
	bytes, of uint64
	progress  func(bytes, of uint64)
}

// Read implements io.Reader.
func (r *countingReader) Read(data []byte) (int, error) {
	n, err := r.from.Read(data)
	r.bytes += uint64(n)
	if r.progress != nil {
		r.progress(r.bytes, r.of)
	}
	return n, err
}

// open takes the data directory, or makes one.
func (i *importing) open() (*directory, error) {
	o := &i.options
	d, err := holdDirectory(i.fs, o.Dir)
	if errors.Is(err, ErrNoHost) && o.Address != "" {
		config := Config{Dir: o.Dir, FS: i.fs, Deployment: o.Deployment, Address: o.Address}.withDefaults()
		d, err = openDirectory(&config)
	}
	if err != nil {
		return nil, err
	}
	if want := o.Members[o.ReplicaID]; want != d.identity.address || o.Address != "" && o.Address != d.identity.address {
		err := fmt.Errorf("%s is the data of a host at %s, replica %d is to be at %s", o.Dir, d.identity.address, o.ReplicaID, want)
		return nil, errors.Join(refused(err), d.close())
	}
	return d, nil
}

// replaced says which replicas are thrown away, if that was asked for.
func (i *importing) replaced(stores *hostStores) ([]ReplicaName, error) {
	keys, err := stores.Replicas(i.options.ShardID)
	var there []ReplicaName
	var texts []string
	for _, key := range keys {
		there = append(there, ReplicaName{key.ShardID, key.ReplicaID})
		texts = append(texts, stores.Describe(key))
	}
	if err != nil || len(there) == 0 || i.options.Force {
		return there, err
	}
	return nil, refused(fmt.Errorf("the host has state of shard %d, which would be thrown away: %s", i.options.ShardID, strings.Join(texts, "; ")))
}

// discard is a logger for what is done without a host.
func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
