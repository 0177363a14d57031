package raft

// Promise returns what the replica has promised so far and what is durable here, for the host's record outside of the log
// store (R14): the term that is durable, and the last durable entry. While the present term is not durable yet,
// VoteTerm is 0: keep the larger of the old record and this one.
func (c *Core) Promise() Promised {
	promised := Promised{Index: c.log.durable, Term: c.log.terms.term(c.log.durable)}
	if c.save.stateDurable() {
		promised.VoteTerm = c.term
	}
	return promised
}
