package nodehost

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// writeCategory marks this package's writes in statistics of the file system.
const writeCategory vfs.DiskWriteCategory = "flotilla-host"

const temporarySuffix = ".temporary"

// replaceFile makes content the durable content of the file name in dir, and returns the open file, positioned at its end. After a
// crash the file has either its old content or the new, whole. The order is what makes it so: the content is durable before the
// name points to it, and the name is durable before anybody relies on it.
func replaceFile(fs vfs.FS, dir, name string, content []byte) (file vfs.File, err error) {
	temporary := fs.PathJoin(dir, name+temporarySuffix)
	file, err = fs.Create(temporary, writeCategory)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
			file = nil
		}
	}()
	if _, err = file.Write(content); err != nil {
		return file, err
	}
	if err = file.Sync(); err != nil {
		return file, err
	}
	if err = fs.Rename(temporary, fs.PathJoin(dir, name)); err != nil {
		return file, err
	}
	return file, syncDir(fs, dir)
}

func syncDir(fs vfs.FS, dir string) error {
	directory, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// readFile returns the content of a file of at most limit bytes.
func readFile(fs vfs.FS, path string, limit int64) ([]byte, error) {
	file, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	err = errors.Join(err, file.Close())
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return content, err
}

// makeDir makes a directory durably, with those above it that do not exist: each new name is synced in its parent.
func makeDir(system vfs.FS, dir string) error {
	var parents []string
	for at := dir; ; at = system.PathDir(at) {
		if _, err := system.Stat(at); err == nil {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		parent := system.PathDir(at)
		if parent == at {
			break
		}
		parents = append(parents, parent)
	}
	if err := system.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, parent := range parents {
		if err := syncDir(system, parent); err != nil {
			return err
		}
	}
	return nil
}
