package raft

// Promise returns what the replica has promised and what is durable here, for the host's record outside of the log
// store (R14); ok is false while the present term is not durable, when the record made before stays valid, and for good
// in a replica that abstains: it holds less than that record says, and must find it again at its next start. What a leader
// has shown to be lost is part of the record from then on.
//
// VoteTerm is the present term: no vote is given below it any more, nor in it after a restart that finds none, for the log
// store may have lost it. (Term, Index) is the last entry that was acknowledged in this term, or, for a leader, that it
// counted itself for. What was acknowledged to an earlier leader is left out on purpose: the present one may rightly cut it.
// Losing it goes unnoticed only if the log store lost it and yet kept the present term, which was written after it.
//
// A log that ends in an entry of the present term counts as a whole, acknowledged or not: that entry came from the term's only leader, whose
// log all of it is, and which never cuts it. So a replica that was started again, and does not know what it had acknowledged, promises it
// again at once: what its former life had promised and not recorded.
func (c *Core) Promise() (promised Promised, ok bool) {
	if c.heal.promised != (Promised{}) && !c.heal.done {
		return c.heal.promised, true
	}
	if !c.save.stateDurable() || c.role == RoleAbstaining {
		return Promised{}, false
	}
	promised.VoteTerm = c.term
	if c.role == RoleLeader || c.log.terms.term(c.log.durable) == c.term {
		promised.Index = c.log.durable
	} else {
		promised.Index = min(c.ack.sent, c.log.durable)
	}
	promised.Index = max(promised.Index, c.log.compacted()) // what is compacted is committed and was durable here
	promised.Term = c.log.terms.term(promised.Index)
	return promised, true
}

// kept reports whether a restarted replica still holds what it promised. Within a term the very entry has to be there, since
// it is never cut under the leader that it was acknowledged to; a later end with a higher term is a tail that was cut before.
// In a term above the recorded one a later leader may have cut what was acknowledged.
func (c *Core) kept(promised Promised) bool {
	if c.term != promised.VoteTerm {
		return c.term > promised.VoteTerm
	}
	return promised.Index <= c.log.compacted() || c.log.holds(promised.Index, promised.Term)
}
