package logdb

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// ErrInvalidSave says that a save contradicts itself: it comes from a mistake of the caller, never from a disk. Group.Save
// returns it and leaves the group unchanged.
var ErrInvalidSave = errors.New("logdb: save contradicts itself")

// Compare orders keys by shard, then by replica, as List returns them.
func (k ReplicaKey) Compare(other ReplicaKey) int {
	if c := cmp.Compare(k.ShardID, other.ShardID); c != 0 {
		return c
	}
	return cmp.Compare(k.ReplicaID, other.ReplicaID)
}

// String returns the key as errors name it.
func (k ReplicaKey) String() string {
	return fmt.Sprintf("shard %d replica %d", k.ShardID, k.ReplicaID)
}

// CheckSave reports what is wrong with a save as far as the save alone shows it: its batches are complete, stamped, of its
// shard and without a gap, they begin at TruncateFrom if that is set, and terms do not fall. Group.Save of
// every implementation begins with it. It looks at a few fields of each header; checksums are checked only under the
// build tag "invariants", since whoever built or received the batches has checked them (R4).
//
// What takes the log itself to see, that the batches follow its end, is found by Loader.
func CheckSave(save *raftpb.Save) error {
	var next, term uint64
	if meta := save.Installing; meta != nil {
		if err := checkInstalling(save); err != nil {
			return fmt.Errorf("%w: shard %d replica %d: installing the snapshot up to %d: %w",
				ErrInvalidSave, save.ShardID, save.ReplicaID, meta.Index, err)
		}
		term = meta.Term
	}
	for i, batch := range save.Batches {
		if err := checkBatch(save, batch); err != nil {
			return fmt.Errorf("%w: shard %d replica %d: batch %d of %d: %w",
				ErrInvalidSave, save.ShardID, save.ReplicaID, i+1, len(save.Batches), err)
		}
		switch {
		case i == 0 && save.TruncateFrom != 0 && batch.First() != save.TruncateFrom:
			return fmt.Errorf("%w: shard %d replica %d: batches begin at %d, the log is truncated from %d",
				ErrInvalidSave, save.ShardID, save.ReplicaID, batch.First(), save.TruncateFrom)
		case i > 0 && batch.First() != next:
			return fmt.Errorf("%w: shard %d replica %d: batch %d begins at %d, want %d",
				ErrInvalidSave, save.ShardID, save.ReplicaID, i+1, batch.First(), next)
		case batch.Term() < term:
			return fmt.Errorf("%w: shard %d replica %d: batch %d at %d has term %d after %d",
				ErrInvalidSave, save.ShardID, save.ReplicaID, i+1, batch.First(), batch.Term(), term)
		}
		next, term = batch.Last()+1, batch.Term()
	}
	return checkMemberships(save)
}

// checkInstalling reports what is wrong with a save that begins the log anew.
func checkInstalling(save *raftpb.Save) error {
	meta := save.Installing
	switch {
	case meta.Index == 0 || meta.Term == 0:
		return fmt.Errorf("index %d, term %d", meta.Index, meta.Term)
	case meta.Config.Index > meta.Index:
		return fmt.Errorf("its configuration is of index %d", meta.Config.Index)
	case save.TruncateFrom != 0:
		return fmt.Errorf("truncated from %d, where there is nothing", save.TruncateFrom)
	case len(save.Batches) > 0 && save.Batches[0].First() != meta.Index+1:
		return fmt.Errorf("batches begin at %d", save.Batches[0].First())
	}
	return meta.Config.Membership.Validate()
}

// checkMemberships refuses what could not be decoded again.
func checkMemberships(save *raftpb.Save) error {
	if save.Bootstrap != nil {
		if err := save.Bootstrap.Initial.Validate(); err != nil {
			return fmt.Errorf("%w: shard %d replica %d: bootstrap: %w", ErrInvalidSave, save.ShardID, save.ReplicaID, err)
		}
	}
	for i := range save.Configs {
		if err := save.Configs[i].Membership.Validate(); err != nil {
			return fmt.Errorf("%w: shard %d replica %d: configuration at %d: %w",
				ErrInvalidSave, save.ShardID, save.ReplicaID, save.Configs[i].Index, err)
		}
	}
	return nil
}

func checkBatch(save *raftpb.Save, batch raftpb.Batch) error {
	if invariant.Enabled {
		if _, err := raftpb.ParseBatch(batch); err != nil {
			return err
		}
		if err := batch.Verify(); err != nil {
			return err
		}
	}
	if len(batch) < raftpb.HeaderSize {
		return fmt.Errorf("%d bytes are shorter than a header", len(batch))
	}
	want := raftpb.HeaderSize
	if batch.Flags()&raftpb.FlagBodyOmitted == 0 {
		want += int(batch.StoredLength())
	}
	switch {
	case len(batch) != want:
		return fmt.Errorf("%d bytes, want %d by its header", len(batch), want)
	case batch.ShardID() != save.ShardID:
		return fmt.Errorf("it belongs to shard %d", batch.ShardID())
	case batch.First() == 0 || batch.Term() == 0:
		return fmt.Errorf("not stamped: term %d, first index %d", batch.Term(), batch.First())
	case batch.Count() == 0:
		return errors.New("no entries")
	}
	return nil
}

// Loader checks a stored log, batch by batch in the order of the indexes, and builds what Stored says of it. Implementations
// of LogDB use it for Load, so that all of them notice the same damage.
type Loader struct {
	key  ReplicaKey
	next uint64 // first index of the batch that must come next; 0 before the first batch
	term uint64

	// Last is the index of the last entry so far, at least the index up to which the log was compacted.
	Last uint64
	// Terms covers the entries behind the compacted ones so far.
	Terms []raftpb.TermStart

	compacted uint64
}

// NewLoader begins the log of a replica that is compacted up to index, whose entry has term.
func NewLoader(key ReplicaKey, index, term uint64) *Loader {
	return &Loader{key: key, compacted: index, term: term, Last: index}
}

// Add parses and verifies the bytes of the next batch and checks that it follows. It returns the batch, which aliases
// bytes. The first batch may begin at or below the compacted index, if it reaches beyond it. Errors are ErrDamaged.
func (l *Loader) Add(bytes []byte) (raftpb.Batch, error) {
	batch, err := VerifyBatch(l.key, bytes)
	if err != nil {
		return nil, fmt.Errorf("%w (the log is whole up to %d)", err, l.Last)
	}
	switch {
	case batch.Last() <= l.compacted:
		return nil, fmt.Errorf("%w: %v: batch [%d, %d] lies within what was compacted up to %d",
			ErrDamaged, l.key, batch.First(), batch.Last(), l.compacted)
	case l.next == 0 && batch.First() > l.compacted+1, l.next != 0 && batch.First() != l.next:
		return nil, fmt.Errorf("%w: %v: batch [%d, %d] does not follow index %d",
			ErrDamaged, l.key, batch.First(), batch.Last(), l.Last)
	case batch.Term() < l.term && batch.First() > l.compacted, l.next != 0 && batch.Term() < l.term:
		return nil, fmt.Errorf("%w: %v: batch [%d, %d] has term %d after term %d",
			ErrDamaged, l.key, batch.First(), batch.Last(), batch.Term(), l.term)
	}
	if len(l.Terms) == 0 || batch.Term() != l.term {
		l.Terms = append(l.Terms, raftpb.TermStart{Term: batch.Term(), First: max(batch.First(), l.compacted+1)})
	}
	l.term, l.next, l.Last = batch.Term(), batch.Last()+1, batch.Last()
	return batch, nil
}

// VerifyBatch parses the bytes of a stored batch and checks header, body and shard. The batch aliases bytes. Errors are
// ErrDamaged.
func VerifyBatch(key ReplicaKey, bytes []byte) (raftpb.Batch, error) {
	batch, err := raftpb.ParseBatch(bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %v: %w", ErrDamaged, key, err)
	}
	if err := batch.Verify(); err != nil {
		return nil, fmt.Errorf("%w: %v: %w", ErrDamaged, key, err)
	}
	if batch.ShardID() != key.ShardID || batch.First() == 0 {
		return nil, fmt.Errorf("%w: %v: batch of shard %d at index %d stands in its place",
			ErrDamaged, key, batch.ShardID(), batch.First())
	}
	return batch, nil
}
