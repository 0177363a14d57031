package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// Promised is the host's own record of what a replica promised, kept outside the log store (R14). It is a lower bound.
type Promised struct {
	VoteTerm    uint64 // term of the last vote
	Term, Index uint64 // last acknowledged entry
}

// Core is the protocol state of one replica. It has one owner, which makes all calls.
type Core struct {
	options    Options
	role       Role
	term, vote uint64
	leader     uint64
	commit     uint64
	membership *raftpb.Membership
}
