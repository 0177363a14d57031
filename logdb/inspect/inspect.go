package inspect

import (
	"context"
	"errors"
	"fmt"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// chunkBytes is how much of a log is read at once.
const chunkBytes = 4 << 20

// Replica is what a store holds of one replica.
type Replica struct {
	Key    logdb.ReplicaKey
	Stored raftpb.Stored // as far as it could be loaded
	// Batches, Entries and Bytes of the log were read, headers included.
	Batches, Entries int
	Bytes            int64
	// Unreadable says that the replica could not be loaded: nothing but Key and Damage is known of it.
	Unreadable bool
	// Damage is what was found wrong; each error names its place. The log is not followed beyond damage that hides what comes next, nor read at
	// all if the replica cannot be loaded, so there may be more.
	Damage []error
}

// LastTerm returns the term of the last entry: of survivors of a shard that lost its quorum the one with the highest is to be taken.
func (r *Replica) LastTerm() uint64 { return termOf(&r.Stored, r.Stored.Last) }

// Membership returns the newest stored membership; ok is false if there is none.
func (r *Replica) Membership() (m raftpb.Membership, ok bool) {
	if n := len(r.Stored.Configs); n > 0 {
		return r.Stored.Configs[n-1].Membership, true
	}
	return r.Stored.Bootstrap.Initial, len(r.Stored.Bootstrap.Initial.Members) > 0
}

// Progress is told after each chunk how many of the replicas are done and how many bytes were read.
type Progress func(replicas, of int, bytes int64)

// All reads everything that a store holds. Headers, checksums, contiguity, terms and memberships are checked on the way. The error is that
// of listing, or the context's; damage is in the replicas.
func All(ctx context.Context, db logdb.LogDB, progress Progress) ([]Replica, error) {
	keys, err := db.List()
	if err != nil {
		return nil, err
	}
	replicas := make([]Replica, 0, len(keys))
	total := int64(0)
	for i, key := range keys {
		r := Replica{Key: key}
		err := r.read(ctx, db, func(bytes int) {
			total += int64(bytes)
			if progress != nil {
				progress(i, len(keys), total)
			}
		})
		replicas = append(replicas, r)
		if err != nil {
			return replicas, err
		}
		if progress != nil {
			progress(i+1, len(keys), total)
		}
	}
	return replicas, nil
}

// read loads the replica and reads its log. Only the context's end is an error.
func (r *Replica) read(ctx context.Context, db logdb.LogDB, chunkRead func(bytes int)) error {
	var err error
	if r.Stored, err = db.Load(r.Key); err != nil {
		r.Unreadable = true
		r.damaged(fmt.Errorf("load: %w", err))
		return nil
	}
	checker := checker{replica: r, next: r.Stored.Compacted + 1}
	for checker.next <= r.Stored.Last {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		batches, err := db.Read(r.Key, checker.next, r.Stored.Last, chunkBytes, nil)
		if err != nil {
			r.damaged(fmt.Errorf("entries from %d: %w", checker.next, err))
			return nil
		}
		before := r.Bytes
		if !checker.batches(batches) {
			return nil
		}
		chunkRead(int(r.Bytes - before))
	}
	checker.configs()
	return nil
}

func (r *Replica) damaged(err error) { r.Damage = append(r.Damage, fmt.Errorf("%s: %w", r.Key, err)) }

// checker follows a log from its front.
type checker struct {
	replica     *Replica
	next        uint64
	memberships []raftpb.Membership
}

// batches checks a chunk and returns whether the next one can be found.
func (c *checker) batches(batches []raftpb.Batch) bool {
	r := c.replica
	if len(batches) == 0 {
		r.damaged(fmt.Errorf("%w: entry %d is not there, the log ends at %d", logdb.ErrDamaged, c.next, r.Stored.Last))
		return false
	}
	for _, b := range batches {
		if err := c.batch(b); err != nil {
			r.damaged(err)
			return false
		}
		r.Batches++
		r.Entries += int(b.Count())
		r.Bytes += int64(len(b))
		c.next = b.Last() + 1
	}
	return true
}

// batch checks one batch against its place. Only the first one may begin in front of it: compaction removes whole batches.
func (c *checker) batch(b raftpb.Batch) error {
	if _, err := raftpb.ParseBatch(b); err != nil {
		return fmt.Errorf("%w: entries from %d: %w", logdb.ErrDamaged, c.next, err)
	}
	if b.First() != c.next && !(c.replica.Batches == 0 && b.First() < c.next && b.Last() >= c.next) {
		return fmt.Errorf("%w: a batch of entries %d to %d is where entry %d is wanted", logdb.ErrDamaged, b.First(), b.Last(), c.next)
	}
	if err := b.Verify(); err != nil {
		return fmt.Errorf("%w: entries %d to %d: %w", logdb.ErrDamaged, b.First(), b.Last(), err)
	}
	if term := termOf(&c.replica.Stored, b.Last()); term != b.Term() {
		return fmt.Errorf("%w: entries %d to %d have term %d, the index of terms says %d", logdb.ErrDamaged, b.First(), b.Last(), b.Term(), term)
	}
	if b.Kind() == raftpb.KindMembership {
		membership, err := b.Membership()
		if err != nil {
			return fmt.Errorf("%w: membership at entry %d: %w", logdb.ErrDamaged, b.First(), err)
		}
		c.memberships = append(c.memberships, membership)
	}
	return nil
}

// configs checks that the memberships of the log are those that are kept beside it.
func (c *checker) configs() {
	for i := range c.memberships {
		id := c.memberships[i].ID
		found := false
		for j := range c.replica.Stored.Configs {
			found = found || c.replica.Stored.Configs[j].Index == id
		}
		if !found {
			c.replica.damaged(fmt.Errorf("%w: the membership of entry %d is not among the stored ones", logdb.ErrDamaged, id))
		}
	}
}

func termOf(s *raftpb.Stored, index uint64) uint64 {
	term := s.CompactedTerm
	for _, start := range s.Terms {
		if start.First > index {
			break
		}
		term = start.Term
	}
	return term
}

// Entry is one entry of a log.
type Entry struct {
	Index, Term uint64
	Kind        raftpb.Kind
	Origin      raftpb.Origin
	Command     []byte // empty for a witness's, which holds headers only
}

// Entries calls visit for the entries in [from, to] of a replica's log, in order, until it returns false. Commands are valid
// during the call. Errors: those of Load and Read, logdb.ErrCompacted and logdb.ErrUnavailable among them.
func Entries(ctx context.Context, db logdb.LogDB, key logdb.ReplicaKey, from, to uint64, visit func(Entry) bool) error {
	stored, err := db.Load(key)
	if err != nil {
		return err
	}
	switch {
	case from <= stored.Compacted:
		return fmt.Errorf("%w: %s: entry %d, the log begins at %d", logdb.ErrCompacted, key, from, stored.Compacted+1)
	case to > stored.Last || from > to:
		return fmt.Errorf("%w: %s: entries %d to %d, the log ends at %d", logdb.ErrUnavailable, key, from, to, stored.Last)
	}
	for next := from; next <= to; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		batches, err := db.Read(key, next, to, chunkBytes, nil)
		if err != nil {
			return err
		}
		if len(batches) == 0 {
			return fmt.Errorf("%w: %s: entry %d is not there", logdb.ErrDamaged, key, next)
		}
		for _, b := range batches {
			more, err := visitBatch(b, from, to, visit)
			if err != nil || !more {
				return err
			}
			next = b.Last() + 1
		}
	}
	return nil
}

func visitBatch(b raftpb.Batch, from, to uint64, visit func(Entry) bool) (more bool, err error) {
	entry := Entry{Index: b.First(), Term: b.Term(), Kind: b.Kind(), Origin: b.Origin()}
	inside := func() bool { return entry.Index >= from && entry.Index <= to }
	if b.Flags()&raftpb.FlagBodyOmitted != 0 {
		for ; entry.Index <= b.Last(); entry.Index++ {
			if inside() && !visit(entry) {
				return false, nil
			}
		}
		return true, nil
	}
	plain, err := b.Plain(nil)
	if err != nil {
		return false, err
	}
	it := plain.Iterator()
	for ; it.Next(); entry.Index++ {
		entry.Command = it.Command()
		if inside() && !visit(entry) {
			return false, nil
		}
	}
	if err := it.Err(); err != nil {
		return false, errors.Join(logdb.ErrDamaged, err)
	}
	return true, nil
}
