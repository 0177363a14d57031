package raft

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// logModel is the log as a list of batches: everything that raftLog answers can be read off it.
type logModel struct {
	batches   []raftpb.Batch // from entry compacted+1 on, or from the batch that holds it
	compacted entryID
	handed    uint64
	durable   uint64
	unsaved   uint64 // first entry that is in no write yet
	evicted   bool
}

func (m *logModel) last() uint64 {
	if len(m.batches) == 0 {
		return m.compacted.Index
	}
	return m.batches[len(m.batches)-1].Last()
}

func (m *logModel) batch(index uint64) (raftpb.Batch, bool) {
	for _, b := range m.batches {
		if index >= b.First() && index <= b.Last() {
			return b, true
		}
	}
	return nil, false
}

func (m *logModel) term(index uint64) uint64 {
	if b, ok := m.batch(index); ok {
		return b.Term()
	}
	return m.compacted.Term
}

// TestLogAgainstBatches drives a log through appends, cuts, writes, hand-overs, compaction and evictions, and compares all
// of its answers with those of a plain list of batches.
func TestLogAgainstBatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := raftLog{cache: &memoryCache{}}
		m := &logModel{unsaved: 1}
		term := uint64(1)
		for step := range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				m.cut(t, &l)
			case 1:
				m.compact(t, &l)
			case 2:
				clear(l.cache.(*memoryCache).chunks)
				m.evicted = true
			case 3:
				m.unsaved = rapid.Uint64Range(m.unsaved, l.last+1).Draw(t, "in a write")
				m.durable = rapid.Uint64Range(m.durable, m.unsaved-1).Draw(t, "durable")
				l.durable = m.durable
			case 4:
				m.handed = rapid.Uint64Range(m.handed, max(m.handed, l.durable)).Draw(t, "handed")
			case 5:
				l.unpin(m.handed, m.unsaved, rapid.IntRange(0, 600).Draw(t, "budget"))
			default:
				term += rapid.Uint64Range(0, 2).Draw(t, "rise")
				b := commandBatch(term, l.last+1, fmt.Sprint(step), rapid.IntRange(1, 4).Draw(t, "count"))
				l.append(b, 0)
				m.batches = append(m.batches, b)
			}
			m.compare(t, &l)
		}
	})
}

func commandBatch(term, first uint64, text string, count int) raftpb.Batch {
	var b raftpb.Builder
	b.Reset(nil)
	for range count {
		b.Add([]byte(text))
	}
	batch := b.Seal(testShard, raftpb.KindCommands, raftpb.Origin{Replica: 1, Session: 1, Sequence: first}, 0)
	batch.Stamp(term, first)
	return batch
}

// cut removes the batches from one of those on that are neither compacted nor handed over.
func (m *logModel) cut(t *rapid.T, l *raftLog) {
	i := len(m.batches)
	for i > 0 && m.batches[i-1].First() > max(m.handed, m.compacted.Index) {
		i--
	}
	if i == len(m.batches) {
		return
	}
	i = rapid.IntRange(i, len(m.batches)-1).Draw(t, "cut")
	first := m.batches[i].First()
	generation := l.generation
	l.truncate(first)
	if l.generation <= generation {
		t.Fatalf("generation %d after %d", l.generation, generation)
	}
	m.batches = m.batches[:i]
	m.unsaved, m.durable = min(m.unsaved, first), min(m.durable, first-1)
}

func (m *logModel) compact(t *rapid.T, l *raftLog) {
	index := rapid.Uint64Range(m.compacted.Index, max(m.compacted.Index, m.handed)).Draw(t, "compact")
	m.compacted = entryID{Index: index, Term: m.term(index)}
	l.unpin(m.handed, m.unsaved, 1<<30) // as every hand-over does
	l.compact(index)
	for len(m.batches) > 0 && m.batches[0].Last() <= index {
		m.batches = m.batches[1:]
	}
}

func (m *logModel) compare(t *rapid.T, l *raftLog) {
	if fault := faultOfLog(&Core{log: *l}); fault != "" {
		t.Fatal(fault)
	}
	if l.last != m.last() || l.durable != m.durable || l.compacted() != m.compacted.Index || l.lastEntry() != (entryID{m.last(), m.term(m.last())}) {
		t.Fatalf("last %d, durable %d, compacted %d, want %d, %d and %v",
			l.last, l.durable, l.compacted(), m.last(), m.durable, m.compacted)
	}
	for index := m.compacted.Index; index <= m.last()+1; index++ {
		for term := m.term(min(index, m.last())); term <= m.term(min(index, m.last()))+1; term++ {
			if got, want := l.holds(index, term), index <= m.last() && m.term(index) == term; got != want {
				t.Fatalf("holds (%d, %d): %t", index, term, got)
			}
		}
	}
	for index := m.compacted.Index + 1; index <= m.last(); index++ {
		m.compareBytes(t, l, index)
	}
	pinned := 0
	for i := range l.pins.len() {
		pinned += len(*l.pins.at(i))
	}
	if pinned != l.pinned {
		t.Fatalf("pinned %d, said to be %d", pinned, l.pinned)
	}
}

// compareBytes: what is found is the right batch, and nothing is missing that is still needed in memory.
func (m *logModel) compareBytes(t *rapid.T, l *raftLog, index uint64) {
	want, _ := m.batch(index)
	i, ok := l.find(index)
	if ok {
		if b, here := l.bytes(i); here && !bytes.Equal(b, want) {
			t.Fatalf("entry %d: batch %s, want %s", index, b, want)
		} else if here {
			return
		}
	}
	if want.Last() > l.durable || want.Last() >= m.unsaved || !m.evicted {
		t.Fatalf("batch %s is not in memory (durable %d, in no write from %d on)", want, l.durable, m.unsaved)
	}
}
