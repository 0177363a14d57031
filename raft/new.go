package raft

import (
	"errors"
	"fmt"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// ErrStored says that a replica's stored state contradicts itself.
var ErrStored = errors.New("raft: stored state is inconsistent")

// Promised is the host's own record of what a replica promised, kept outside the log store (R14). It is a lower bound.
type Promised struct {
	VoteTerm    uint64 // the term that was durable when this was recorded
	Term, Index uint64 // last entry acknowledged in that term
}

// New makes the core of a replica from what its log store returned. The replica starts as a follower, whatever it was
// before (R6); with an empty log as a bootstrapping one, unless it joins, or its bootstrap is complete, or it is the only
// voter. If the log holds less than was promised it abstains. Errors: ErrOptions, ErrStored.
func New(now Instant, options Options, stored raftpb.Stored, promised Promised, cache Cache) (*Core, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	options.setDefaults()
	if err := checkStored(&stored); err != nil {
		return nil, err
	}
	c := &Core{
		options: options, term: stored.State.Term, vote: stored.State.Vote, bootstrap: stored.Bootstrap,
		commit:  min(max(stored.Compacted, stored.State.Commit, options.Applied), stored.Last),
		handed:  min(max(stored.Compacted, options.Applied), stored.Last),
		checkAt: Never, retryAt: Never, heartbeatAt: Never, electionAt: Never,
		random: random{state: options.Seed ^ options.ReplicaID*0x9E3779B97F4A7C15},
	}
	c.applied, c.apply.uncounted = c.handed, stored.Last
	c.install.recovering = stored.Installing != nil && options.Applied < stored.Installing.Index
	c.save.installed = stored.Installing != nil && !c.install.recovering
	c.log = raftLog{last: stored.Last, durable: stored.Last, cache: cache}
	c.log.terms.before = entryID{Index: stored.Compacted, Term: stored.CompactedTerm}
	c.log.terms.starts = append(c.log.terms.starts, stored.Terms...)
	c.save.next = stored.Last + 1
	if len(stored.Configs) == 0 || stored.Configs[0].Index > stored.Compacted {
		// The oldest stored membership may not be committed: what it goes back to when it is cut is the initial one.
		c.configs = append(c.configs, raftpb.ConfigRecord{Membership: stored.Bootstrap.Initial})
	}
	c.configs = append(c.configs, stored.Configs...)
	c.pruneConfigs()
	c.useNewestConfig()
	if options.Applied < stored.Compacted && stored.Installing == nil && !c.witness {
		return nil, fmt.Errorf("%w: the state machine holds entry %d, and the log begins behind %d", ErrStored, options.Applied, stored.Compacted)
	}
	c.events = c.events[:0]
	c.begin(now, promised, max(stored.State.Commit, options.Applied))
	return c, nil
}

func checkStored(s *raftpb.Stored) error {
	switch {
	case s.Last < s.Compacted:
		return fmt.Errorf("%w: last entry %d below the compacted %d", ErrStored, s.Last, s.Compacted)
	case s.Last > s.Compacted && (len(s.Terms) == 0 || s.Terms[0].First != s.Compacted+1):
		return fmt.Errorf("%w: the terms do not begin at entry %d", ErrStored, s.Compacted+1)
	case s.Last == s.Compacted && len(s.Terms) > 0:
		return fmt.Errorf("%w: terms of an empty log", ErrStored)
	case s.Installing != nil && s.Installing.Index > s.Compacted:
		return fmt.Errorf("%w: a snapshot up to entry %d is being installed, and the log begins behind %d", ErrStored, s.Installing.Index, s.Compacted)
	case s.Bootstrap.Incarnation == 0:
		return fmt.Errorf("%w: no incarnation", ErrStored)
	}
	previous := raftpb.TermStart{Term: s.CompactedTerm, First: s.Compacted}
	for i, start := range s.Terms {
		if start.First <= previous.First || start.First > s.Last || start.Term < previous.Term ||
			i > 0 && start.Term == previous.Term || start.Term > s.State.Term {
			return fmt.Errorf("%w: term %d from entry %d after term %d from entry %d in term %d", ErrStored,
				start.Term, start.First, previous.Term, previous.First, s.State.Term)
		}
		previous = start
	}
	for i := range s.Configs {
		if i > 0 && s.Configs[i].Index <= s.Configs[i-1].Index || s.Configs[i].Index > s.Last {
			return fmt.Errorf("%w: membership at entry %d, last entry %d", ErrStored, s.Configs[i].Index, s.Last)
		}
	}
	return nil
}

// begin chooses the first role. A stored commit index is written with the entries that it speaks of, or after them: without
// them the log store lost something, whatever the host's record says.
func (c *Core) begin(now Instant, promised Promised, commit uint64) {
	c.now = now
	c.beginBound(now)
	empty := c.log.last == 0 && c.term == 0
	if !c.kept(promised) || commit > c.log.last {
		c.abstain()
		return
	}
	c.sealed = promised.VoteTerm
	c.resetElectionTimer(now)
	if empty && !c.bootstrap.Join && !c.bootstrap.Complete {
		c.beginBootstrap(now)
	}
	if c.role == RoleFollower && c.alone() && c.electable() {
		c.electionAt = now // nobody else can lead, and nobody is disturbed: a timeout would only be waited for
	}
}
