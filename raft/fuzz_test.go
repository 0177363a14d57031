package raft

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// fuzzReader turns fuzz input into numbers, most of them small, so that they meet what a core holds.
type fuzzReader struct{ data []byte }

func (r *fuzzReader) byte() byte {
	if len(r.data) == 0 {
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *fuzzReader) number() uint64 {
	b := r.byte()
	switch {
	case b < 240:
		return uint64(b % 24)
	case b < 248 && len(r.data) >= 8:
		v := binary.LittleEndian.Uint64(r.data)
		r.data = r.data[8:]
		return v
	}
	return -uint64(b - 239)
}

// pick returns the right value most of the time.
func (r *fuzzReader) pick(right uint64) uint64 {
	if r.byte() < 230 {
		return right
	}
	return r.number()
}

// FuzzStep feeds cores in all roles with messages of arbitrary fields, between other calls. Nothing may panic, and the
// core's own invariants have to hold afterwards.
func FuzzStep(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0, 5, 0, 0, 1, 1, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 30, 2, 3})
	for seed := range byte(24) {
		data := make([]byte, 400)
		for i := range data {
			data[i] = byte(i)*31*(seed+1) + seed*7 + byte(i>>3)
		}
		f.Add(data)
	}
	f.Fuzz(stepAnything)
}

// TestStepTakesAnything runs the fuzz target on longer inputs than the corpus has.
func TestStepTakesAnything(t *testing.T) {
	source := rand.New(rand.NewPCG(1, 2))
	for range 1500 {
		data := make([]byte, 3000)
		for i := range data {
			data[i] = byte(source.Uint32())
		}
		stepAnything(t, data)
	}
}

// TestLeaderThatContradictsItself: the same leader sends two different logs in one term. That is broken, and may not make
// the core believe in entries that it cut.
func TestLeaderThatContradictsItself(t *testing.T) {
	n := newNetwork(3, func(string, ...any) {})
	n.advance(3 * time.Second)
	leader, follower := n.leader(), n.nodes[0]
	if follower == leader {
		follower = n.nodes[1]
	}
	send := func(term uint64, commands ...string) {
		b := n.batch(leader, 9, commands...)
		last := follower.core.commit
		b.Stamp(term, last+1)
		m := raftpb.Message{
			Type: raftpb.MessageReplicate, ShardID: testShard, From: leader.id, To: follower.id,
			FromIncarnation: 10 + leader.id, FromSession: leader.session, Term: 9, LogIndex: last,
			LogTerm: follower.core.log.terms.term(last), Commit: last, Request: 1, Batches: []raftpb.Batch{b},
		}
		follower.core.Step(n.now, &m)
	}
	send(7, "a", "b", "c")
	send(8, "x")
	m := raftpb.Message{
		Type: raftpb.MessageHeartbeat, ShardID: testShard, From: leader.id, To: follower.id,
		FromIncarnation: 10 + leader.id, FromSession: leader.session, Term: 9, Commit: 1000, Request: 1,
	}
	follower.core.Step(n.now, &m)
	checkInvariants(t, follower.core)
	if follower.core.commit != follower.core.log.last || follower.core.log.terms.term(follower.core.log.last) != 8 {
		t.Errorf("commit %d, last entry %v", follower.core.commit, follower.core.log.lastEntry())
	}
}
