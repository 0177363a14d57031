package nodehost

import (
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/transport"
)

// A data directory that was put back from an older copy holds promises that were outdone since: its replicas would vote again in terms
// in which they have voted, and count for entries that they do not have. Nothing in the directory shows it. Another host does,
// which has seen a higher epoch of this one and refuses it (R14). What follows, in this order:
//
//  1. The engine's latch is set: from then on nothing is voted for, acknowledged or led here, and nothing is served but StaleRead.
//  2. The directory is marked. The epoch rises by one at each start, so it would pass the one that the others have seen after a few of
//     them, and nobody would refuse it any more.
//  3. The next start finds the mark. Before anything is sent it records for every stored replica a promise that none can hold, so that
//     each abstains until it is healed, whenever it is started; then it takes an epoch far above any that was seen, and removes the
//     mark. A crash on the way begins this step again.
//
// Nobody but the replicas' leaders decides what becomes of them: they are healed one by one, as after the loss of a disk (R15).
// Taking another host id instead would let go of what the log store knows of its owner.

const (
	restoredName = "restored" // the mark: its content is a text for people
	epochJump    = 1 << 32    // more starts than any host lives through
)

// watchEpoch looks for the refusal in what the transport reports.
func (h *NodeHost) watchEpoch(event *engine.Event) {
	if event.Kind != engine.EventConnectionDown || !errors.Is(event.Err, transport.ErrOwnEpoch) || h.refused.Swap(true) {
		return
	}
	h.engine.Retire(fmt.Errorf("%w: %w", ErrRestoredDirectory, event.Err))
	if err := h.directory.mark(event.Err.Error()); err != nil {
		h.config.Logger.Error("the mark of a restored data directory cannot be written: do not start this host again before its "+
			"directory is removed", "dir", h.config.Dir, "error", err)
	}
}

func (d *directory) mark(why string) error {
	file, err := replaceFile(d.fs, d.path, restoredName, []byte(why+"\n"))
	if err != nil {
		return err
	}
	return file.Close()
}

// restored says that the directory carries the mark.
func (d *directory) restored() (bool, error) {
	_, err := d.fs.Stat(d.join(restoredName))
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	}
	return false, fmt.Errorf("look for the mark of a restored directory: %w", err)
}

// disown is step 3.
func (h *NodeHost) disown() error {
	restored, err := h.directory.restored()
	if err != nil || !restored {
		return err
	}
	keys, err := h.log.List()
	if err != nil {
		return fmt.Errorf("list the replicas of a restored data directory: %w", err)
	}
	var records []engine.PromiseRecord
	for _, key := range keys {
		records = append(records, engine.PromiseRecord{Key: key, Promised: raft.Promised{VoteTerm: math.MaxUint64}})
	}
	if len(records) > 0 {
		if err := h.promises.Record(records); err != nil {
			return err
		}
	}
	h.config.Logger.Warn("the data directory was an older copy: its replicas abstain until they are healed", "dir", h.config.Dir,
		"replicas", len(keys))
	return h.directory.outdo()
}

// outdo takes an epoch that nobody has seen, and removes the mark.
func (d *directory) outdo() error {
	d.identity.epoch += epochJump
	file, err := replaceFile(d.fs, d.path, identityName, d.identity.encode())
	if err != nil {
		return fmt.Errorf("write host identity: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("write host identity: %w", err)
	}
	if err := d.fs.Remove(d.join(restoredName)); err != nil {
		return fmt.Errorf("remove the mark of a restored directory: %w", err)
	}
	return syncDir(d.fs, d.path)
}
