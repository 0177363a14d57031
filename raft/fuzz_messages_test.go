package raft

import "github.com/flotilla-raft/flotilla/raftpb"

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
	switch fate := r.byte(); {
	case fate > 250:
		b[int(r.byte())%len(b)] ^= 1 << (r.byte() % 8)
	case fate > 235:
		b = b.WithoutBody()
	}
	return b
}

func (r *fuzzReader) membership() raftpb.Membership {
	m := raftpb.Membership{ID: r.number(), Members: r.members()}
	if r.byte() > 170 {
		m.Outgoing = r.members()
	}
	if r.byte() > 200 {
		m.Operation = r.number()
	}
	return m
}

// snapshot is one that a core can install, most of the time.
func (r *fuzzReader) snapshot() raftpb.SnapshotMeta {
	meta := raftpb.SnapshotMeta{ShardID: r.pick(testShard), ReplicaID: r.number(), Index: r.number(), Term: r.pick(1), Kind: raftpb.SnapshotMemory}
	meta.Config.Index = r.pick(meta.Index)
	meta.Config.Membership = r.membership()
	if r.byte() < 200 {
		meta.Config.Membership.Outgoing, meta.Config.Membership.Operation = nil, 0
	}
	meta.Config.Membership.ID = r.pick(meta.Config.Index)
	return meta
}

// members are replicas 1 to 5, or some of them, of all kinds, most of them in the incarnation that they are in.
func (r *fuzzReader) members() []raftpb.Member {
	var members []raftpb.Member
	kinds := raftpb.MemberKind(3)
	for id := uint64(1); id <= 5; id++ {
		shape := r.byte()
		if shape < 60 {
			continue
		}
		member := raftpb.Member{ReplicaID: id, Kind: raftpb.MemberKind(shape)%kinds + 1, Incarnation: r.pick(10 + id)}
		if shape > 180 {
			member.Kind = raftpb.Voter
		}
		if shape > 235 {
			member.Goal, member.Priority = raftpb.MemberGoal(r.byte()%6), raftpb.Priority(r.byte())
		}
		members = append(members, member)
	}
	return members
}

func (r *fuzzReader) message(to *testNode) raftpb.Message {
	from := uint64(r.byte()%6 + 1)
	m := raftpb.Message{
		Type: raftpb.MessageType(r.byte()) % (raftpb.MessageTypeCount + 1), Reason: raftpb.Reason(r.byte()) % (raftpb.ReasonCount + 1), Transfer: r.byte() > 200,
		ShardID: r.pick(testShard), From: from, To: r.pick(to.id), FromIncarnation: r.pick(10 + from),
		ToIncarnation: r.pick(10 + to.id), FromSession: r.pick(100 + from), ToSession: r.pick(to.session),
		Term: r.pick(to.core.term + uint64(r.byte()/200)), Commit: r.number(),
		Request: r.pick(to.core.request), HintIndex: r.number(), HintTerm: r.number(), Time: int64(r.number()), Backlog: r.pick(0),
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
	if m.Type == raftpb.MessageInstallSnapshot {
		meta := r.snapshot()
		m.LogIndex, m.LogTerm = r.pick(meta.Index), r.pick(meta.Term)
		m.Payload = raftpb.AppendSnapshotMeta(nil, meta)
		return m
	}
	switch shape := r.byte(); {
	case shape > 240:
		n := min(int(r.byte()), len(r.data))
		m.Payload, r.data = r.data[:n:n], r.data[n:]
	case shape > 150:
		m.Payload = raftpb.EncodeMembership(r.membership())
	}
	return m
}
