package raft

// followerState is what a leader keeps of a follower for those who look on, beside its progress. On the path of a proposal it
// costs a counter.
type followerState struct {
	sent     FollowerCounts
	failures uint64 // one after another, see FollowerStatus
	online   bool
	backlog  uint64 // as it said last
	stalled  stalledMatch
}

// FollowerCounts are what a leader has sent to a follower since it began to lead.
type FollowerCounts struct {
	Heartbeats uint64
	Probes     uint64
	Appends    uint64 // messages with entries
	Installs   uint64 // times that it was found to need a snapshot
}

// stalledMatch watches whether a follower that answers gets on with the log.
type stalledMatch struct {
	match    uint64 // at the last check
	timeouts int    // election timeouts for which it has stood still
}

// stuckTimeouts is for how many election timeouts a follower's match has to stand still before EventFollowerStuck. An election
// timeout is longer than anything ordinary takes; what takes three is worth a look, and is told once.
const stuckTimeouts = 3

// beginFollower is the begin of a leader's dealings with a member, endFollower their end.
func (c *Core) beginFollower(p *peer) {
	p.beginProgress(c.log.last+1, c.request, c.now)
	c.event(Event{Kind: EventFollowerCreated, Replica: p.id})
}

func (c *Core) endFollower(p *peer) {
	p.forgetProgress()
	c.event(Event{Kind: EventFollowerDestroyed, Replica: p.id})
}

// heard notes an answer of a follower in this term.
func (c *Core) heard(now Instant, p *peer) {
	p.lastContact = now
	if !p.online {
		p.online = true
		c.event(Event{Kind: EventFollowerOnline, Replica: p.id})
	}
}

func (c *Core) offline(p *peer) {
	if p.online {
		p.online = false
		c.event(Event{Kind: EventFollowerOffline, Replica: p.id})
	}
}

// watchFollowers looks at each follower once in an election timeout.
func (c *Core) watchFollowers(now Instant) {
	for _, p := range c.peers {
		if p.lastContact+c.electionTimeout() <= now {
			c.offline(p)
		}
		s := &p.stalled
		if p.match != s.match || p.match >= c.log.last || !p.online || p.lost {
			*s = stalledMatch{match: p.match}
			continue
		}
		if s.timeouts++; s.timeouts == stuckTimeouts {
			c.event(Event{Kind: EventFollowerStuck, Replica: p.id, ID: p.match})
		}
	}
}

// status is what a leader tells of a follower.
func (p *peer) status() FollowerStatus {
	return FollowerStatus{
		ReplicaID: p.id, Kind: p.kind, State: p.state, Match: p.match, Next: p.next, Online: p.online,
		LastContact: p.lastContact, InflightBytes: p.inflightBytes, InflightMessages: p.inflight.len(), Paused: p.paused,
		Failures: p.failures, Sent: p.sent, Backlog: p.backlog,
	}
}
