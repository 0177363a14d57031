package seglog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
)

// ErrLanes says that the configured directories are not those that the lanes of the store are in.
var ErrLanes = errors.New("seglog: lanes")

// The LANES file of a directory says which lane it has, and, in that of the first, which directories the others are in. A store with one lane has none.
//
//	 0       8         12     16      20
//	┌───────┬─────────┬──────┬───────┬──────────────────────────────┬─────┐
//	│ magic │ version │ lane │ lanes │ directories, each behind its │ CRC │
//	│       │         │      │       │ length as a varint           │ u32 │
//	└───────┴─────────┴──────┴───────┴──────────────────────────────┴─────┘
const (
	lanesName     = "LANES"
	lanesMagic    = "FLTLLANE"
	lanesMaxBytes = 1 << 20
)

// laneTable is the directories of the lanes.
type laneTable struct {
	fs          vfs.FS
	directories []string
	recorded    []string // in the first one's file
}

// openLaneTable compares the configured directories with those that are recorded, and writes down which lane each new one is to be.
//
// The record of the first lane names a lane only once it has been opened: so a directory that is named and has no lane was lost.
func openLaneTable(options Options) (*laneTable, error) {
	t := &laneTable{fs: options.FS, directories: append([]string{options.Dir}, options.Directories...)}
	found, recorded, err := t.read(0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		recorded = t.directories[:1]
	case err != nil:
		return nil, err
	case found != 0:
		return nil, fmt.Errorf("%w: %s is to be the first, and is lane %d", ErrLanes, options.Dir, found)
	}
	if t.recorded = recorded; len(recorded) > len(t.directories) {
		return nil, fmt.Errorf("%w: there are %d, in %q; configured are %d", ErrLanes, len(recorded), recorded, len(t.directories))
	}
	for lane := 1; lane < len(t.directories); lane++ {
		if err := t.check(lane); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// check makes sure that a directory has the lane that it is to have, or none yet.
func (t *laneTable) check(lane int) error {
	directory := t.directories[lane]
	found, _, err := t.read(lane)
	switch {
	case err == nil && found == lane && (Exists(t.fs, directory) || lane >= len(t.recorded)):
		return nil
	case err == nil:
		return fmt.Errorf("%w: %s is to be lane %d, and is what is left of lane %d", ErrLanes, directory, lane, found)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case lane < len(t.recorded):
		return fmt.Errorf("%w: lane %d is missing in %s, it was in %s", ErrLanes, lane, directory, t.recorded[lane])
	case Exists(t.fs, directory):
		return fmt.Errorf("%w: %s is to be lane %d, and has a store of its own", ErrLanes, directory, lane)
	}
	d := &t.at(lane).directory
	if err := d.make(); err != nil {
		return err
	}
	return t.write(lane, nil)
}

// record names all lanes in the first one's directory.
func (t *laneTable) record() error {
	if slices.Equal(t.recorded, t.directories) {
		return nil
	}
	return t.write(0, t.directories)
}

func (t *laneTable) at(lane int) *Store {
	return &Store{directory: directory{fs: t.fs, path: t.directories[lane]}}
}

func (t *laneTable) write(lane int, directories []string) error {
	data := append([]byte(lanesMagic), make([]byte, 12)...)
	le.PutUint32(data[8:], formatVersion)
	le.PutUint32(data[12:], uint32(lane))
	le.PutUint32(data[16:], uint32(len(directories)))
	for _, name := range directories {
		data = append(binary.AppendUvarint(data, uint64(len(name))), name...)
	}
	data = le.AppendUint32(data, crc32.Checksum(data, castagnoli))
	return t.at(lane).directory.replace(lanesName, data)
}

// read returns what the file in a lane's directory says. The error matches fs.ErrNotExist if there is none.
func (t *laneTable) read(lane int) (found int, directories []string, err error) {
	return readLanes(t.fs, t.fs.PathJoin(t.directories[lane], lanesName))
}

func readLanes(files vfs.FS, path string) (lane int, directories []string, err error) {
	file, err := files.Open(path)
	if err != nil {
		return 0, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, lanesMaxBytes))
	if err = errors.Join(err, file.Close()); err != nil {
		return 0, nil, fmt.Errorf("read %s: %w", path, err)
	}
	lane, directories, err = decodeLanes(data)
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", path, err)
	}
	return lane, directories, nil
}

// decodeLanes decodes a LANES file.
func decodeLanes(data []byte) (lane int, directories []string, err error) {
	end := len(data) - 4
	if end < 20 || string(data[:8]) != lanesMagic || crc32.Checksum(data[:end], castagnoli) != le.Uint32(data[end:]) {
		return 0, nil, fmt.Errorf("%w: it is not a table of lanes", logdb.ErrDamaged)
	}
	if version := le.Uint32(data[8:]); version != formatVersion {
		return 0, nil, fmt.Errorf("%w: %d, want %d", ErrVersion, version, formatVersion)
	}
	fields := fieldReader{data: data[:end], at: 20}
	for range le.Uint32(data[16:]) {
		length := fields.uvarint()
		if fields.bad || length > uint64(end-fields.at) {
			return 0, nil, fmt.Errorf("%w: table of lanes is cut off", logdb.ErrDamaged)
		}
		directories = append(directories, string(data[fields.at:fields.at+int(length)]))
		fields.at += int(length)
	}
	if fields.at != end {
		return 0, nil, fmt.Errorf("%w: table of lanes has %d bytes too many", logdb.ErrDamaged, end-fields.at)
	}
	return int(le.Uint32(data[12:])), directories, nil
}

// LaneDirectories returns the further directories of a store, by what the first one says: none if it has one lane. files nil stands for the
// operating system's. Whoever opens a store without knowing its options sets Options.Directories to it.
//
// A store that is not where it was recorded may have been moved as a whole, as a backup is that was put back somewhere else: each lane that is there
// when it has kept its place relative to the first is taken from there, the others from where they were.
func LaneDirectories(files vfs.FS, dir string) ([]string, error) {
	if files == nil {
		files = vfs.Default
	}
	_, directories, err := readLanes(files, files.PathJoin(dir, lanesName))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(directories) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	first := directories[0]
	for lane := 1; lane < len(directories) && first != dir; lane++ {
		relative, err := filepath.Rel(first, directories[lane])
		if err != nil {
			continue // one of them is absolute and the other is not
		}
		moved := files.PathJoin(dir, relative)
		if found, _, err := readLanes(files, files.PathJoin(moved, lanesName)); err == nil && found == lane {
			directories[lane] = moved
		}
	}
	return directories[1:], nil
}

// checkAlone refuses a directory that has one of several lanes to whoever opens it alone.
func (s *Store) checkAlone() error {
	if s.options.isLane {
		return nil
	}
	lane, directories, err := readLanes(s.directory.fs, s.directory.join(lanesName))
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && lane == 0 && len(directories) == 1:
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%w: this is lane %d of several (%q)", ErrLanes, lane, directories)
}
