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

func (r *fuzzReader) batch(m *raftpb.Message, first uint64) raftpb.Batch {
	if r.byte() > 240 {
		n := min(int(r.byte()), len(r.data))
		b := raftpb.Batch(r.data[:n:n])
		r.data = r.data[n:]
		return b
	}
	var builder raftpb.Builder
	builder.Reset(nil)
	kind := raftpb.Kind(r.byte()%5 + 1)
	for range r.byte()%4 + 1 {
		if kind == raftpb.KindMembership {
			builder.Add(raftpb.EncodeMembership(r.membership()))
			break
		}
		builder.Add([]byte{r.byte()})
	}
	b := builder.Seal(r.pick(testShard), kind, raftpb.Origin{
		Replica: r.pick(m.From), Session: r.pick(m.FromSession), Sequence: r.pick(m.Request),
	}, 0)
	if m.Type != raftpb.MessagePropose || r.byte() > 230 {
		b.Stamp(max(1, r.pick(m.Term)), max(1, r.pick(first)))
	}
	if r.byte() > 250 {
		b[int(r.byte())%len(b)] ^= 1 << (r.byte() % 8)
	}
	return b
}

func (r *fuzzReader) membership() raftpb.Membership {
	m := raftpb.Membership{ID: r.number()}
	for id := range uint64(r.byte() % 6) {
		m.Members = append(m.Members, raftpb.Member{
			ReplicaID: id + 1, Kind: raftpb.MemberKind(r.byte() % 4), Incarnation: r.number(),
		})
	}
	return m
}

func (r *fuzzReader) message(to *testNode) raftpb.Message {
	from := uint64(r.byte()%4 + 1)
	m := raftpb.Message{
		Type: raftpb.MessageType(r.byte() % 22), Reason: raftpb.Reason(r.byte() % 18), Transfer: r.byte() > 200,
		ShardID: r.pick(testShard), From: from, To: r.pick(to.id), FromIncarnation: r.pick(10 + from),
		ToIncarnation: r.pick(10 + to.id), FromSession: r.pick(100 + from), ToSession: r.pick(to.session),
		Term: r.pick(to.core.term + uint64(r.byte()/200)), Commit: r.number(),
		Request: r.pick(to.core.request), HintIndex: r.number(), HintTerm: r.number(), Time: int64(r.number()),
	}
	if m.Type == raftpb.MessageRemoved && r.byte() < 200 {
		m.Type = raftpb.MessageReplicate
	}
	m.LogIndex = r.pick(to.core.log.last - min(to.core.log.last, uint64(r.byte()%5)))
	if m.LogIndex >= to.core.log.compacted() && m.LogIndex <= to.core.log.last {
		m.LogTerm = r.pick(to.core.log.terms.term(m.LogIndex))
	}
	if m.Type == raftpb.MessagePropose {
		m.Batches = append(m.Batches, r.batch(&m, 1))
	}
	next := m.LogIndex + 1
	for range r.byte() % 4 {
		b := r.batch(&m, next)
		m.Batches = append(m.Batches, b)
		if len(b) >= raftpb.HeaderSize {
			next = b.Last() + 1
		}
	}
	if r.byte() > 150 {
		m.Payload = raftpb.EncodeMembership(r.membership())
	}
	return m
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

func stepAnything(t *testing.T, data []byte) {
	n := newNetwork(3, func(string, ...any) {})
	r := &fuzzReader{data: data}
	if r.byte() > 60 {
		n.advance(3 * time.Second)
	}
	for len(r.data) > 0 {
		node := n.nodes[r.byte()%3]
		for range r.byte()%3 + 1 {
			m := r.message(node)
			node.core.Step(n.now, &m)
			checkInvariants(t, node.core)
		}
		n.fuzzCall(r, node)
		checkInvariants(t, node.core)
	}
}

func (n *network) fuzzCall(r *fuzzReader, node *testNode) {
	switch r.byte() % 18 {
	case 0:
		n.now += Instant(r.byte()) * Instant(10*time.Millisecond)
		node.core.Tick(n.now)
	case 1:
		node.core.Saved(n.now, r.number())
	case 2:
		read := LogRead{Follower: r.number(), Number: r.number(), From: r.number(), To: r.number(), Term: r.number()}
		node.core.LogReadDone(n.now, read, []raftpb.Batch{n.batch(node, 1, "x")}, nil)
	case 3:
		node.core.Applied(r.number())
	case 4:
		node.core.SetStorage(n.now, StorageState(r.byte()/85))
	case 5:
		node.core.ReadIndex(n.now, r.number())
	case 6:
		node.core.TransferLeader(n.now, r.number(), r.number())
	case 7:
		node.core.ProposeMembership(n.now, r.membership())
	case 8:
		node.core.Propose(n.now, n.batch(node, r.number(), "x", "y"))
	case 9:
		node.core.Unreachable(n.now, r.number())
	case 10:
		clear(node.cache.chunks)
	case 11:
		node.core.Compact(r.number())
	default:
		n.drain(node)
		for n.save(node) || n.readLog(node) {
		}
		for range min(len(n.queue), int(r.byte()%4)) {
			n.deliver(0)
		}
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
