package nodehost

import (
	"errors"
	"fmt"
	"strings"

	"github.com/flotilla-raft/flotilla/internal/rebuild"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// snapshotRisks reads the snapshots behind which the survivor's log begins, the newest first, until one is whole: without one there is no state to
// go on with, and once the survivor is the only member it is too late to take another one. A state machine on disk has its state
// elsewhere, so that there are none says nothing.
func snapshotRisks(stores *hostStores, r *rebuild.Recovery) (risks []string) {
	var damaged []string
	for _, name := range stores.Snapshots.List(r.Key.ShardID, r.Key.ReplicaID) {
		if name.Index < r.Stored.Compacted {
			continue
		}
		err := readSnapshot(stores.Snapshots, name)
		if err == nil {
			return nil
		}
		damaged = append(damaged, fmt.Sprintf("%s: %v", stores.Snapshots.Path(name), err))
	}
	if len(damaged) == 0 || r.Stored.Compacted == 0 {
		return nil
	}
	return []string{fmt.Sprintf("replica %d has no whole snapshot of what its log begins behind, entry %d: its state may be lost (%s)", r.Key.ReplicaID,
		r.Stored.Compacted, strings.Join(damaged, ", "))}
}

func readSnapshot(directory *snapshot.Directory, name snapshot.Name) (err error) {
	file, err := directory.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = snapshot.Verify(file, nil)
	return err
}
