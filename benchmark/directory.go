package benchmark

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// dataDirectory is where the hosts of all runs keep their data.
type dataDirectory struct {
	path    string
	warning string // why the figures may mean nothing, or empty
	fresh   bool   // made under a name of our own
	created bool   // made under the name that was asked for
}

// WithDirectory opens the data directory as the Config wants it, says what is wrong with it, lets use work in it, and removes what was
// made unless it is to be kept.
func WithDirectory(config Config, out io.Writer, use func(path string) error) (err error) {
	data, err := openDirectory(config.Data)
	if err != nil {
		return err
	}
	if data.warning != "" {
		fmt.Fprintln(out, "WARNING:", data.warning)
	}
	err = use(data.path)
	if config.Keep {
		fmt.Fprintln(out, "data kept in", data.path)
		return err
	}
	return errors.Join(err, data.remove())
}

// openDirectory returns the directory that was asked for, made if it is missing, or else a fresh one: in the directory for
// temporary files if that is on a disk, else in the user's cache. The working directory is never written to unasked.
func openDirectory(path string) (*dataDirectory, error) {
	d := &dataDirectory{path: path}
	if path == "" {
		parent := os.TempDir()
		if inMemory(parent) {
			if cache, err := os.UserCacheDir(); err == nil && os.MkdirAll(cache, 0o700) == nil && !inMemory(cache) {
				parent = cache
			}
		}
		fresh, err := os.MkdirTemp(parent, "flotilla-bench-")
		if err != nil {
			return nil, fmt.Errorf("benchmark: data directory: %w", err)
		}
		d.path, d.fresh = fresh, true
	} else if _, err := os.Stat(path); err != nil {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, fmt.Errorf("benchmark: data directory: %w", err)
		}
		d.created = true
	}
	if inMemory(d.path) {
		d.warning = d.path + " lies in memory: syncs cost nothing there, so no figure can be believed; choose a disk with --data"
	}
	return d, nil
}

// run makes the empty directory of one run.
func (d *dataDirectory) run(name string) (string, error) {
	path := filepath.Join(d.path, name)
	if err := os.Mkdir(path, 0o700); err != nil {
		return "", fmt.Errorf("benchmark: data directory (is it left from an earlier run with --keep?): %w", err)
	}
	return path, nil
}

// remove deletes what was made here and nothing that was there before. A directory that was asked for goes only if it is empty:
// what someone else put there meanwhile is theirs.
func (d *dataDirectory) remove() error {
	var err error
	switch {
	case d.fresh:
		err = os.RemoveAll(d.path)
	case d.created:
		err = os.Remove(d.path)
	}
	if err != nil {
		return fmt.Errorf("benchmark: data directory: %w", err)
	}
	return nil
}
