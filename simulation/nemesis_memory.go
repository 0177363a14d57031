package simulation

import (
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// A replica that lost what it had promised may lose more, since nobody counts on it. But what is left of it, be it the record of promises
// alone, keeps the first members from beginning the shard a second time: once all of them have empty disks nothing tells the shard from a
// new one (R16), and nothing is guaranteed.

// asksFirst says that the place is that of a first member, which on an empty disk asks the others whether the shard is new.
func (p *place) asksFirst() bool {
	member := findMember(&p.shard.configurations[0].membership, p)
	return member != nil && member.Kind != raftpb.Learner && !p.joins
}

// remembers says that something is left on a place's host that shows that the shard exists.
func (p *place) remembers() bool {
	m := p.host.disk.durable[keyOf(p)]
	return p.host.promise.records[keyOf(p)] != (raft.Promised{}) || m != nil && (m.state.Term > 0 || m.last() > 0)
}

// aloneRemembers says that all other first members would begin the shard anew if this one did.
func (p *place) aloneRemembers() bool {
	if !p.asksFirst() || !p.remembers() {
		return false
	}
	for _, other := range p.shard.places {
		if member := findMember(&p.shard.configurations[0].membership, other); other != p && member != nil && member.Kind != raftpb.Learner &&
			(other.joins || other.remembers()) {
			return false
		}
	}
	return true
}
