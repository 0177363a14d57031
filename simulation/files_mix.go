package simulation

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// mixBlock is what is kept or lost of a file as one, unless the files say otherwise.
const mixBlock = 4096

// mix returns what a power cut leaves if each block and each name that was not synced is there with a probability in percent, of each directory
// another one. A name that was not synced is there with all of its file or not at all. Drawn in the order of the names, which the file system's own
// crash is not. f.mu is held.
func (f *files) mix(percent []int) *vfs.MemFS {
	least := f.memory.CrashClone(vfs.CrashCloneCfg{})
	most := f.memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(0, 0))})
	image := vfs.NewCrashableMem()
	var failed error
	for i, directory := range f.directories {
		failed = errors.Join(failed, f.mixDirectory(image, least, most, directory, percent[i]))
	}
	if failed = errors.Join(failed, syncDirectory(image, "")); failed != nil {
		return least
	}
	return image
}

func (f *files) mixDirectory(image, least, most *vfs.MemFS, directory string, percent int) (failed error) {
	if _, err := least.Stat(directory); err != nil && directory != f.directories[0] && f.random.IntN(100) >= percent {
		return nil // it was just made
	}
	if err := image.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	names, _ := most.List(directory) // none before the store was opened first
	slices.Sort(names)
	for _, name := range names {
		path := image.PathJoin(directory, name)
		all, err := readWhole(most, path)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		synced, err := readWhole(least, path)
		if err != nil { // the name was not synced
			if f.random.IntN(100) < percent {
				failed = errors.Join(failed, writeWhole(image, path, all))
			}
			continue
		}
		failed = errors.Join(failed, writeWhole(image, path, f.mixBlocks(synced, all, percent)))
	}
	return errors.Join(failed, syncDirectory(image, directory))
}

// mixBlocks keeps some of the blocks that were not synced.
func (f *files) mixBlocks(synced, all []byte, percent int) []byte {
	mixed := slices.Clone(synced)
	for at := 0; at < len(all); at += f.block {
		if f.random.IntN(100) >= percent {
			continue
		}
		end := min(at+f.block, len(all))
		if grow := end - len(mixed); grow > 0 {
			mixed = append(mixed, make([]byte, grow)...)
		}
		copy(mixed[at:], all[at:end])
	}
	return mixed
}

func readWhole(fs vfs.FS, path string) ([]byte, error) {
	file, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(file)
	return data, errors.Join(err, file.Close())
}

func writeWhole(fs vfs.FS, path string, data []byte) error {
	file, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Sync(), file.Close())
}

func syncDirectory(fs vfs.FS, path string) error {
	directory, err := fs.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
