package simulation

import (
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/rsm"
)

// sessionPlan is what a seed draws for client sessions; the zero value is a run without.
type sessionPlan struct {
	share    float64 // of the clients' requests
	clients  int     // of each shard that have one session at a time
	capacity int     // sessions that a shard holds: with fewer than there are clients they evict each other
	dropped  float64 // of the answers never reach the client
	patience time.Duration
}

// drawSessions draws for which runs there are sessions. The machines of users get the commands of plain requests alone.
func drawSessions(r *random, o *Options) sessionPlan {
	wanted := r.chance(map[string]float64{"sessions": 1, "snapshots": 0.7, "everything": 0.5}[o.Profile])
	p := sessionPlan{
		share: 0.2, clients: 1 + r.below(4), capacity: pick(r, []int{1, 2, 3, 3, 8, 64}), dropped: pick(r, []float64{0, 0.05, 0.3}),
		patience: pick(r, []time.Duration{2 * time.Second, 20 * time.Second}),
	}
	if o.Profile == "sessions" {
		p.share = 0.6
	}
	if !wanted || o.Machine != nil {
		return sessionPlan{}
	}
	return p
}

// sessions are clients that have sessions. Each keeps to the rules: a new ID for each attempt to open one, a call is the same command each time, and
// an acknowledgement covers calls that have ended. Otherwise it does whatever comes up: several calls at once, each tried again through other hosts,
// also while an attempt is under way, or when the answer got lost on the way to the client; and copies of calls that ended long ago arrive late.
type sessions struct {
	world    *World
	random   random
	byClient map[uint64]*session // looked up, never iterated
	clients  []*sessionClient
	attempts []*attempt // those under way, and some that have ended
	open     int        // calls that have not ended
}

// sessionClient is one client of a shard.
type sessionClient struct {
	shard   *shard
	session *session   // nil: it has none
	former  []*session // the last few that are over, or were never used
	refused bool       // the shard has no sessions
}

// session is a client's session. Its calls are numbered from 1.
type session struct {
	id        uint64
	client    *sessionClient
	calls     []*sessionCall
	responded uint64 // all calls up to it have ended
	over      bool
	opened    bool // it was said to be there
	// What the rules say of it, along what is decided (check_sessions.go).
	registered bool
}

// sessionCall is a call, which is one operation however often it is proposed.
type sessionCall struct {
	*operation
	session   *session
	series    uint64
	command   []byte
	under     int // attempts under way
	tries     int // that came to nothing
	uncertain bool
	waiting   bool // to be tried again
	ended     bool
	// said are the errors with which attempts were answered, found those with which entries of it ended by the rules.
	said, found sessionFate
}

// attempt is one proposal.
type attempt struct {
	session  *session
	call     *sessionCall // nil: it opens or closes the session
	series   uint64
	host     *host
	life     uint32
	calledAt raft.Instant
	ended    bool
}

// newSessions makes the clients, nil in a run without.
func newSessions(w *World) *sessions {
	p := w.plan.sessions
	if p.share == 0 {
		return nil
	}
	c := &sessions{world: w, random: w.random.fork(), byClient: map[uint64]*session{}}
	for _, s := range w.shards {
		s.sessions = newSessionTable(s.machineKind != machineOnDiskBare)
		for range p.clients {
			c.clients = append(c.clients, &sessionClient{shard: s})
		}
	}
	return c
}

// begin lets clients make requests for as long as there are any.
func (c *sessions) begin() {
	const calls = 3 // that one makes at once, on average
	w := c.world
	mean := float64(time.Second) / (float64(w.options.Rate) * w.plan.sessions.share) * calls
	w.after(c.random.exponential(mean), func() {
		if !w.quiet {
			c.request(pick(&c.random, c.clients))
			c.begin()
		}
	})
}

func (c *sessions) request(client *sessionClient) {
	s := client.session
	switch draw := c.random.unit(); {
	case client.refused:
	case s == nil:
		c.register(client)
		if draw < 0.3 {
			c.late(client)
		}
	case draw < 0.08:
		c.late(client)
	case draw < 0.09 && s.responded == uint64(len(s.calls)):
		c.end(client)
		c.propose(&attempt{session: s, series: rsm.SeriesClose}, c.place(client.shard), nil, s.responded)
	default:
		p := c.place(client.shard)
		for range 1 + c.random.below(5) {
			c.call(s, p)
		}
	}
}

// register asks for a session. Whether it is there is known when that is answered.
func (c *sessions) register(client *sessionClient) {
	const least = 1 << 49
	id := least + c.random.next()%(rsm.MaxClientID+1-least)
	s := &session{id: id, client: client}
	c.byClient[id] = s
	c.propose(&attempt{session: s, series: rsm.SeriesOpen}, c.place(client.shard), rsm.RegisterCommand(c.world.plan.sessions.capacity), 0)
}

// end lets a client begin with another session.
func (c *sessions) end(client *sessionClient) {
	s := client.session
	client.session = nil
	s.over = true
	const kept = 3
	if client.former = append(client.former, s); len(client.former) > kept {
		client.former = client.former[1:]
	}
	for _, call := range s.calls {
		if !call.ended {
			c.endUnanswered(call)
		}
	}
}

// call makes a call, which is proposed at one replica first.
func (c *sessions) call(s *session, p *place) {
	w := c.world
	shard := s.client.shard
	o := &operation{
		id: uint64(len(w.clients.operations) + 1), key: uint8(c.random.below(keyCount)), shard: shard, host: shard.places[0].host, called: w.now, floor: shard.floor,
	}
	w.clients.operations = append(w.clients.operations, o)
	w.counters.add(countOperations, 1)
	w.counters.add(countSessionCalls, 1)
	call := &sessionCall{operation: o, session: s, series: uint64(len(s.calls) + 1), command: c.world.clients.newCommand(&c.random, o.id, o.key)}
	s.calls = append(s.calls, call)
	c.open++
	c.try(call, p)
}

// try proposes a call, and may do so again before that is answered.
func (c *sessions) try(call *sessionCall, p *place) {
	c.propose(&attempt{session: call.session, call: call, series: call.series}, p, call.command, call.session.responded)
	if !call.ended && !call.waiting && c.random.chance(0.12) {
		c.tryLater(call, 200*time.Millisecond)
	}
}

func (c *sessions) tryLater(call *sessionCall, most time.Duration) {
	if call.waiting || call.ended {
		return
	}
	w := c.world
	call.waiting = true
	w.after(c.random.between(int64(time.Millisecond), int64(most)), func() {
		call.waiting = false
		switch {
		case call.ended:
		case w.quiet && !call.shard.recoverable(), !w.quiet && w.now-call.called > int64(w.plan.sessions.patience):
			c.endUnanswered(call)
		default:
			w.counters.add(countSessionRetries, 1)
			c.try(call, c.place(call.shard))
		}
	})
}

// late lets a copy of a proposal arrive that was made before, maybe long ago, with the acknowledgement of then. One whose call was surely not
// done has no copies.
func (c *sessions) late(client *sessionClient) {
	from := client.session
	if n := len(client.former); n > 0 && (from == nil || c.random.chance(0.5)) {
		from = client.former[c.random.below(n)]
	}
	if from == nil || len(from.calls) == 0 {
		return
	}
	call := from.calls[len(from.calls)-1-c.random.below(min(len(from.calls), 20))]
	if call.status != statusRefused {
		c.repeat(call, c.place(client.shard))
	}
}

func (c *sessions) repeat(call *sessionCall, p *place) {
	c.world.counters.add(countSessionLate, 1)
	responded := min(call.session.responded, call.series-1)
	responded -= min(responded, uint64(c.random.below(4)))
	c.propose(&attempt{session: call.session, call: call, series: call.series}, p, call.command, responded)
}

// askEverywhere asks every replica once more for the last call of each session: all of them have to know it.
func (c *sessions) askEverywhere() {
	if c == nil {
		return
	}
	for _, client := range c.clients {
		list := client.former
		if client.session != nil {
			list = append(list[:len(list):len(list)], client.session)
		}
		for _, s := range list {
			n := len(s.calls)
			if n == 0 || s.calls[n-1].status == statusRefused {
				continue
			}
			for _, p := range client.shard.places {
				if p.serves() && !p.witness() {
					c.repeat(s.calls[n-1], p)
				}
			}
		}
	}
}

// place draws where a client asks: more often than not where the leader is.
func (c *sessions) place(s *shard) *place {
	p := pick(&c.random, s.places)
	if c.random.chance(0.5) {
		for _, other := range s.places {
			if other.state == placeRunning && other.replica.Leading() {
				p = other
			}
		}
	}
	return p
}

// propose proposes once.
func (c *sessions) propose(a *attempt, p *place, command []byte, responded uint64) {
	w := c.world
	h := p.host
	a.host, a.life, a.calledAt = h, h.life, h.now()
	id := uint64(0)
	if a.call != nil {
		a.call.under++
		id = a.call.id
	}
	w.trace.add(record{at: w.now, kind: recordCall, host: int32(h.index), shard: p.shard.id, text: "session call", numbers: [6]uint64{id, a.series, a.session.id, responded}})
	if p.witness() || !p.usable() {
		c.ended(a, rsm.Result{}, engine.ErrNotStarted)
		return
	}
	c.attempts = append(c.attempts, a)
	fields := engine.SessionFields{Client: a.session.id, Series: a.series, Responded: responded}
	if err := p.replica.ProposeSession(fields, command, func(result rsm.Result, err error) { c.ended(a, result, err) }); err != nil {
		c.ended(a, rsm.Result{}, err)
	}
	h.wake()
}

// orphan ends what was asked of a host that crashed.
func (c *sessions) orphan(h *host) {
	if c == nil {
		return
	}
	for _, a := range c.attempts {
		if a.host == h && a.life == h.life && !a.ended {
			c.ended(a, rsm.Result{}, engine.ErrMaybeApplied)
		}
	}
}

// sweep looks for attempts that have not ended in time (R3).
func (c *sessions) sweep() {
	if c == nil {
		return
	}
	kept := c.attempts[:0]
	for _, a := range c.attempts {
		if a.ended {
			continue
		}
		kept = append(kept, a)
		if waited, late := c.world.overdue(a.host, a.calledAt); late {
			c.world.violate("answers", "shard %d: call %d of session %x, asked of replica %d, has not ended after %v, the limit is %v", a.session.client.shard.id, a.series,
				a.session.id, a.host.index+1, waited, c.world.plan.requestTimeout)
		}
	}
	clear(c.attempts[len(kept):])
	c.attempts = kept
}

// unfinished says whether calls have not ended, or attempts.
func (c *sessions) unfinished() bool {
	if c == nil {
		return false
	}
	for _, a := range c.attempts {
		if !a.ended {
			return true
		}
	}
	return c.open > 0
}
