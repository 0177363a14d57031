package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// canDecide says that a quorum of a membership's voters, of both electorates if it is joint, answered this leader within an election timeout
// and has not lost its state. A membership is in effect on append (R17): one whose voters cannot decide could never be
// committed, nor undone, and the shard would stand still for good. It is no matter of safety, so what was heard may be old; but who has not answered
// since this leader was elected may have been silent for long.
func (c *Core) canDecide(m *raftpb.Membership) bool {
	return c.mostAreLive(m.Members) && (len(m.Outgoing) == 0 || c.mostAreLive(m.Outgoing))
}

func (c *Core) mostAreLive(members []raftpb.Member) bool {
	voters, live := 0, 0
	for i := range members {
		if members[i].Kind == raftpb.Learner {
			continue
		}
		voters++
		if c.isLive(members[i].ReplicaID) {
			live++
		}
	}
	return live > voters/2
}

func (c *Core) isLive(id uint64) bool {
	if id == c.options.ReplicaID {
		return true // it leads
	}
	p := c.peer(id)
	return p != nil && !p.lost && !c.saysLost(id, c.now) && c.heardLately(p)
}
