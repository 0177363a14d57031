package seglog

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
)

// The FORMAT file says what a directory is: magic, version, owner, checksum. Its version is that of everything in the directory;
// a later version of this package that writes something else raises it.
const (
	formatMagic  = "flotilla seglog\n"
	formatLength = 32
)

func encodeFormat(owner uint64) []byte {
	data := append([]byte(formatMagic), make([]byte, formatLength-len(formatMagic))...)
	le.PutUint32(data[16:], formatVersion)
	le.PutUint64(data[20:], owner)
	le.PutUint32(data[28:], crc32.Checksum(data[:28], castagnoli))
	return data
}

// decodeFormat returns the owner in a FORMAT file. The version is looked at first: the rest may be different in another one.
func decodeFormat(data []byte) (owner uint64, err error) {
	if len(data) < 20 || string(data[:16]) != formatMagic {
		return 0, fmt.Errorf("%w: %s is not one of this store", logdb.ErrDamaged, formatName)
	}
	if version := le.Uint32(data[16:]); version != formatVersion && len(data) == formatLength &&
		crc32.Checksum(data[:28], castagnoli) == le.Uint32(data[28:]) {
		return 0, fmt.Errorf("%w: %d, want %d", ErrVersion, version, formatVersion)
	}
	if len(data) != formatLength || crc32.Checksum(data[:28], castagnoli) != le.Uint32(data[28:]) {
		return 0, fmt.Errorf("%w: checksum of %s", logdb.ErrDamaged, formatName)
	}
	return le.Uint64(data[20:]), nil
}

// Exists reports whether a directory holds a store of this package. fs nil stands for the operating system's.
func Exists(fs vfs.FS, dir string) bool {
	if fs == nil {
		fs = vfs.Default
	}
	_, err := fs.Stat(fs.PathJoin(dir, formatName))
	return err == nil
}

// checkFormat reads the FORMAT file, or writes one in a directory without segments.
func (s *Store) checkFormat() error {
	d := &s.directory
	file, err := d.fs.Open(d.join(formatName))
	if errors.Is(err, fs.ErrNotExist) {
		return s.writeFormat()
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", formatName, err)
	}
	data, err := io.ReadAll(io.LimitReader(file, 2*formatLength))
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("read %s: %w", formatName, err)
	}
	owner, err := decodeFormat(data)
	if err != nil {
		return err
	}
	switch {
	case s.options.Owner == 0 || owner == s.options.Owner:
		return nil
	case owner == 0:
		return s.replaceFormat()
	default:
		return fmt.Errorf("%w: it is of host %016x, this is %016x", ErrOwner, owner, s.options.Owner)
	}
}

// writeFormat begins a new store. Without the file but with segments something was lost, and nobody knows what else. Other files are another
// store's; directories, as a mount point has one, are not looked at.
func (s *Store) writeFormat() error {
	names, err := s.directory.fs.List(s.directory.path)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	for _, name := range names {
		_, suffix, ok := parseName(name)
		if ok && suffix == segmentSuffix {
			return fmt.Errorf("%w: %s is missing, but %s exists", logdb.ErrDamaged, formatName, name)
		}
		if ok || name == lockName || name == formatName+tempSuffix || name == lanesName || name == lanesName+tempSuffix {
			continue
		}
		if info, err := s.directory.fs.Stat(s.directory.join(name)); err != nil || !info.IsDir() {
			return errors.Join(fmt.Errorf("%w: %s is none of the segmented log's", logdb.ErrOtherStore, name), err)
		}
	}
	return s.replaceFormat()
}

func (s *Store) replaceFormat() error {
	return s.directory.replace(formatName, encodeFormat(s.options.Owner))
}

// replace gives a file other contents, in one step.
func (d *directory) replace(name string, data []byte) error {
	temp := name + tempSuffix
	file, err := d.fs.Create(d.join(temp), vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("create %s: %w", temp, err)
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", temp, err)
	}
	if err := d.rename(temp, name); err != nil {
		return err
	}
	return d.sync()
}
