package simulation

import (
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// damage is what happens to a file that nobody writes.
type damage uint8

const (
	damageNone damage = iota
	damageFlip        // a bit
	damageZero        // some sectors
)

// pickFile draws a file of the log store that holds something, other than the one named. Logs, tables and manifests are as likely as
// each other, however many there are of them.
func pickFile(memory *vfs.MemFS, below func(int) int, except string) string {
	var names []string
	for _, directory := range laneDirectories(maxLanes) {
		some, err := memory.List(directory)
		if err != nil {
			continue // there are fewer
		}
		slices.Sort(some) // List's order is that of a map
		for _, base := range some {
			names = append(names, memory.PathJoin(directory, base))
		}
	}
	var classes [fileManifest + 1][]string
	for _, name := range names {
		info, err := memory.Stat(name)
		if err != nil || info.IsDir() || info.Size() == 0 || name == except {
			continue
		}
		classes[classOf(name)] = append(classes[classOf(name)], name)
	}
	var from [][]string
	for _, class := range []fileClass{fileLog, fileTable, fileTable, fileManifest} {
		if len(classes[class]) > 0 {
			from = append(from, classes[class])
		}
	}
	if len(from) == 0 {
		return ""
	}
	chosen := from[below(len(from))]
	return chosen[below(len(chosen))]
}

// harm damages a file of a log store that is not open. It returns the file's name, or "" if there is none.
func harm(memory *vfs.MemFS, kind damage, r *random) (string, error) {
	name := pickFile(memory, r.below, "")
	if name == "" {
		return "", nil
	}
	file, err := memory.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return "", err
	}
	info, err := file.Stat()
	if err != nil {
		return "", errors.Join(err, file.Close())
	}
	data := make([]byte, info.Size())
	if _, err := file.ReadAt(data, 0); err != nil {
		return "", errors.Join(err, file.Close())
	}
	at := r.below(len(data))
	switch kind {
	case damageFlip:
		data[at] ^= 1 << r.below(8)
	case damageZero:
		at -= at % sector
		clear(data[at:min(len(data), at+sector*(1+r.below(8)))])
	}
	_, err = file.WriteAt(data, 0)
	return name, errors.Join(err, file.Sync(), file.Close())
}
