package logstore

import (
	"sync"

	"github.com/flotilla-raft/flotilla/logdb"
)

// commitsInFlight is how many commits may be under way, as in the engine's log writer.
const commitsInFlight = 2

// gatherer joins what appenders hand over into one commit at a time, as the engine's log writer does.
//
// Invariant: whoever holds the role commits until nothing waits or no commit is free; completions take the role again, so nothing
// waits while a commit is free and nobody holds the role.
type gatherer struct {
	store logdb.LogDB

	mu      sync.Mutex
	role    bool // somebody is committing
	waiting []submission
	free    []*commit

	commits, bytes uint64 // durable, under mu
	err            error
}

type submission struct {
	group logdb.Group
	done  chan<- error
}

type commit struct {
	gatherer *gatherer
	items    []submission
	groups   []logdb.Group
	bytes    int
	done     func(error)
}

func newGatherer(store logdb.LogDB) *gatherer {
	g := &gatherer{store: store}
	for range commitsInFlight {
		c := &commit{gatherer: g}
		c.done = c.completed
		g.free = append(g.free, c)
	}
	return g
}

// submit hands a group over; done receives the outcome and has room for it.
func (g *gatherer) submit(group logdb.Group, done chan<- error) {
	g.mu.Lock()
	g.waiting = append(g.waiting, submission{group, done})
	g.run()
}

// run commits what waits if nobody else does. It is called with mu held and releases it.
func (g *gatherer) run() {
	if g.role {
		g.mu.Unlock()
		return
	}
	g.role = true
	for len(g.waiting) > 0 && len(g.free) > 0 {
		c := g.begin()
		g.mu.Unlock()
		g.store.Commit(c.groups, c.done)
		g.mu.Lock()
	}
	g.role = false
	g.mu.Unlock()
}

func (g *gatherer) begin() *commit {
	c := g.free[len(g.free)-1]
	g.free = g.free[:len(g.free)-1]
	c.items, g.waiting = g.waiting, c.items[:0]
	c.groups, c.bytes = c.groups[:0], 0
	for i := range c.items {
		c.groups = append(c.groups, c.items[i].group)
		c.bytes += c.items[i].group.Bytes()
	}
	return c
}

// completed counts before it answers: whoever has the answer finds it counted.
func (c *commit) completed(err error) {
	g := c.gatherer
	g.mu.Lock()
	if err == nil {
		g.commits++
		g.bytes += uint64(c.bytes)
	} else if g.err == nil {
		g.err = err
	}
	g.mu.Unlock()
	for i := range c.items {
		c.items[i].done <- err
		c.items[i] = submission{}
	}
	g.mu.Lock()
	g.free = append(g.free, c)
	g.run()
}

// counts returns how many commits and bytes became durable.
func (g *gatherer) counts() (commits, bytes uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.commits, g.bytes
}
