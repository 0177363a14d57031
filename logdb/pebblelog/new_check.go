package pebblelog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/flotilla-raft/flotilla/logdb"
)

// checkNew looks at a directory in which Pebble finds no database, before it makes one: files of another store, and logs and tables whose
// database is lost, are not a new store's. What a crash leaves of a store that was being made is: logs and tables come after the marker of the
// manifest is durable.
//
// Errors are logdb.ErrOtherStore, logdb.ErrDamaged, and those of the file system.
func checkNew(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		switch {
		case name == "LOCK", hasAffixes(name, "MANIFEST-", ""), hasAffixes(name, "OPTIONS-", ""), hasAffixes(name, "marker.", ""),
			hasAffixes(name, "temporary.", ".dbtmp"):
			continue
		case hasAffixes(name, "", ".log"), hasAffixes(name, "", ".sst"), hasAffixes(name, "", ".blob"):
			return fmt.Errorf("%w: no manifest is current, but %s exists", logdb.ErrDamaged, name)
		}
		if info, err := fs.Stat(fs.PathJoin(dir, name)); err != nil || !info.IsDir() {
			return errors.Join(fmt.Errorf("%w: %s is none of Pebble's", logdb.ErrOtherStore, name), err)
		}
	}
	return nil
}

func hasAffixes(name, prefix, suffix string) bool {
	return strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix)
}
