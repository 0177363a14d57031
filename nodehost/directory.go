package nodehost

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Names in the data directory.
const (
	lockName     = "lock"
	identityName = "identity"
	promisesName = "promises"
	logName      = "log"

	snapshotsName = "snapshots"
)

// directory is a host's data directory while a NodeHost has it: locked, with the identity of this start.
type directory struct {
	fs       vfs.FS
	path     string
	identity identity
	lock     io.Closer
}

// openDirectory makes or opens the data directory, locks it, and makes the epoch of this start durable. Nothing was sent before that,
// so no peer ever sees two starts under one epoch (R14).
func openDirectory(config *Config) (d *directory, err error) {
	d = &directory{fs: config.FS, path: config.Dir}
	if err := makeDir(d.fs, d.path); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	if d.lock, err = d.fs.Lock(d.join(lockName)); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDirectoryLocked, d.path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
			d = nil
		}
	}()
	if err = d.loadIdentity(config); err != nil {
		return d, err
	}
	d.identity.epoch++
	file, err := replaceFile(d.fs, d.path, identityName, d.identity.encode())
	if err != nil {
		return d, fmt.Errorf("write host identity: %w", err)
	}
	if err = file.Close(); err != nil {
		return d, fmt.Errorf("write host identity: %w", err)
	}
	// The log's directory comes after the identity, so that one without an identity shows a loss.
	if err = makeDir(d.fs, d.join(logName)); err != nil {
		return d, fmt.Errorf("make log directory: %w", err)
	}
	return d, nil
}

func (d *directory) join(name string) string { return d.fs.PathJoin(d.path, name) }

func (d *directory) close() error { return d.lock.Close() }

// loadIdentity reads the stored identity, or makes a new one with epoch 0 for an empty directory.
func (d *directory) loadIdentity(config *Config) error {
	path := d.join(identityName)
	content, err := readFile(d.fs, path, identityMaxLength)
	if errors.Is(err, fs.ErrNotExist) {
		return d.newIdentity(config)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrIdentityDamaged, err)
	}
	if d.identity, err = decodeIdentity(content); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if stored := d.identity.deployment; stored != config.Deployment {
		return &IdentityMismatch{path, "Deployment", stored, config.Deployment}
	}
	if stored := d.identity.address; stored != config.Address {
		return &IdentityMismatch{path, "Address", stored, config.Address}
	}
	return nil
}

// newIdentity refuses a directory with data: a host that forgot who it was could vote twice.
func (d *directory) newIdentity(config *Config) error {
	for _, name := range []string{promisesName, logName, snapshotsName} {
		if _, err := d.fs.Stat(d.join(name)); err == nil {
			return fmt.Errorf("%w: %s is missing, but %s exists", ErrIdentityDamaged, d.join(identityName), d.join(name))
		}
	}
	var random [8]byte
	for d.identity.hostID == 0 {
		if _, err := rand.Read(random[:]); err != nil {
			return fmt.Errorf("draw host id: %w", err)
		}
		d.identity.hostID = binary.LittleEndian.Uint64(random[:])
	}
	d.identity.deployment, d.identity.address = config.Deployment, config.Address
	return nil
}
