package raft

import (
	"fmt"
	"slices"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// memoryCache is a Cache that evicts when it is told to.
type memoryCache struct {
	chunks map[uint64]raftpb.Batch
	next   uint64
}

func (c *memoryCache) Put(b raftpb.Batch, _ uint64) raftpb.BatchRef {
	c.next++
	if c.chunks == nil {
		c.chunks = make(map[uint64]raftpb.Batch)
	}
	c.chunks[c.next] = b
	return raftpb.BatchRef{Chunk: c.next, Length: uint32(len(b))}
}

func (c *memoryCache) Get(r raftpb.BatchRef) (raftpb.Batch, bool) {
	b, ok := c.chunks[r.Chunk]
	return b, ok
}

// disk is a log store of one replica: what is in it survives a crash. It refuses what the contract of Save forbids.
type disk struct {
	stored  raftpb.Stored
	batches []raftpb.Batch
	file    testSnapshot // the newest of its state machine
	former  testSnapshot // the one before it was received
}

func (d *disk) write(s *raftpb.Save) error {
	if s.Bootstrap != nil {
		d.stored.Bootstrap = *s.Bootstrap
	}
	if s.StateChanged {
		if s.State.Term < d.stored.State.Term {
			return fmt.Errorf("term %d after %d", s.State.Term, d.stored.State.Term)
		}
		if s.State.Term == d.stored.State.Term && d.stored.State.Vote != 0 && s.State.Vote != d.stored.State.Vote {
			return fmt.Errorf("vote for %d after %d in term %d", s.State.Vote, d.stored.State.Vote, s.State.Term)
		}
		d.stored.State = s.State
	}
	if meta := s.Installing; meta != nil {
		d.batches, d.stored.Configs, d.stored.Installing = nil, []raftpb.ConfigRecord{meta.Config}, meta
		d.stored.Compacted, d.stored.CompactedTerm = meta.Index, meta.Term
	}
	if s.Installed {
		d.stored.Installing = nil
	}
	if s.TruncateFrom != 0 {
		i := slices.IndexFunc(d.batches, func(b raftpb.Batch) bool { return b.First() == s.TruncateFrom })
		if i < 0 {
			return fmt.Errorf("truncate from %d, which is no batch's first entry", s.TruncateFrom)
		}
		d.batches = d.batches[:i:i]
		d.stored.Configs = slices.DeleteFunc(slices.Clone(d.stored.Configs), func(c raftpb.ConfigRecord) bool {
			return c.Index >= s.TruncateFrom
		})
	}
	for _, b := range s.Batches {
		if b.First() != d.last()+1 {
			return fmt.Errorf("batch %s after entry %d", b, d.last())
		}
		d.batches = append(d.batches, b)
	}
	d.stored.Configs = append(d.stored.Configs, s.Configs...)
	return nil
}

func (d *disk) last() uint64 {
	if len(d.batches) == 0 {
		return d.stored.Compacted
	}
	return d.batches[len(d.batches)-1].Last()
}

func (d *disk) load() raftpb.Stored {
	s := d.stored
	s.Last = d.last()
	s.Terms = nil
	for _, b := range d.batches {
		if n := len(s.Terms); n == 0 || s.Terms[n-1].Term != b.Term() {
			s.Terms = append(s.Terms, raftpb.TermStart{Term: b.Term(), First: max(b.First(), s.Compacted+1)})
		}
	}
	s.Configs = slices.Clone(s.Configs)
	return s
}

func (d *disk) read(r LogRead) []raftpb.Batch {
	var found []raftpb.Batch
	size := 0
	for _, b := range d.batches {
		if b.Last() < r.From || b.First() > r.To {
			continue
		}
		if size > 0 && size+len(b) > r.MaxBytes {
			break
		}
		found = append(found, b)
		size += len(b)
	}
	return found
}

func (d *disk) compact(index, term uint64) {
	for len(d.batches) > 0 && d.batches[0].Last() <= index {
		d.batches = d.batches[1:]
	}
	d.stored.Compacted, d.stored.CompactedTerm = index, term
	for len(d.stored.Configs) > 1 && d.stored.Configs[1].Index <= index {
		d.stored.Configs = d.stored.Configs[1:]
	}
}
