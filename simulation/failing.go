package simulation

import (
	"errors"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// One replica fails, and its host goes on (R24). A state machine returns an error or panics from some Update on: its replica is quarantined, and is
// to give its leadership up and not to campaign, for as long as it runs. An assertion fails, which is done here by a log store that
// refuses to take a write: the replica is fenced, and says nothing more. Both are cured by a restart of the replica, after a while.

// failure is what is wrong with a replica; it ends when that is started anew.
type failure struct {
	asked    bool  // that it may be fenced or quarantined, now or before in this life of the host
	machine  bool  // its state machine fails from now on
	panics   bool  // it does so with a panic
	files    bool  // it does so since its files failed
	failedAt int64 // when the state machine failed first, 0 if it has not yet
	fence    bool  // its next write is refused
	fenced   bool  // that has been done
}

var (
	errMachine = errors.New("simulation: the state machine fails")
	errFence   = errors.New("simulation: a write is refused")
)

// fail lets a replica fail, and cures it later.
func (n *nemesis) fail(kind counter, h *host) bool {
	p := h.places[n.random.below(len(h.places))]
	if p == nil || p.state != placeRunning || p.witness() {
		return false
	}
	n.note(h, counterNames[kind], p.shard.id, 0)
	f := &p.failure
	f.asked = true
	if kind == countFence {
		f.fence = true
	} else {
		f.machine, f.panics = true, n.random.chance(0.5)
	}
	n.during(200*time.Millisecond, 8*time.Second, func() {
		p.wanted = false
		p.stop()
		n.during(0, 500*time.Millisecond, func() {
			p.wanted = true
			p.settle()
		})
	})
	return true
}

// cure begins a life of a replica in which nothing is wrong with it.
func (p *place) cure() { p.failure = failure{asked: p.failure.asked} }

// broken says that the replica has to be started anew to be of use.
func (p *place) broken() bool {
	return p.failure.machine || p.failure.fence || p.failure.fenced
}

// failure returns the error of a state machine that is to fail, or panics with it.
func (m *machine) failure() error {
	p := m.host.places[m.shard.id-1]
	if p == nil || p.machine != m || !p.failure.machine {
		return nil
	}
	f := &p.failure
	if f.failedAt == 0 {
		f.failedAt = max(1, m.world.now)
	}
	if f.panics {
		panic(errMachine)
	}
	return errMachine
}

// refuses says that a write is to be refused, for the replica to be fenced. One that begins a replica is taken: it is the engine's.
func (d *disk) refuses(save *raftpb.Save) error {
	p := d.host.places[save.ShardID-1]
	if p == nil || !p.failure.fence || save.Bootstrap != nil {
		return nil
	}
	p.failure.fence, p.failure.fenced = false, true
	return errFence
}

// checkFenced: what is fenced says nothing more, until it is started anew. What is told to a leader that asks for a snapshot is the
// engine's, not the replica's.
func (w *World) checkFenced(h *host, s *shard, m *raftpb.Message) {
	p := h.places[s.id-1]
	if p == nil || !p.failure.fenced || p.replica == nil {
		return
	}
	switch m.Type {
	case raftpb.MessageSnapshotPull, raftpb.MessageSnapshotChunk:
		return
	}
	w.violate("fence", "shard %d: replica %d is fenced, and sends %v in term %d", s.id, m.From, m.Type, m.Term)
}

// askedToFail says that the replica of an event was made to fail, in this life of its host.
func (w *World) askedToFail(h *host, e engine.Event) bool {
	p := h.places[e.ShardID-1]
	if p == nil || !p.failure.asked && !(p.failure.files && e.Kind == engine.EventReplicaQuarantined) {
		return false
	}
	if e.Kind == engine.EventReplicaQuarantined {
		w.counters.add(countQuarantined, 1)
	}
	return true
}

// failedFor returns for how long the state machine of a replica has failed, less the time that its process stood still.
func (p *place) failedFor() time.Duration {
	if p.failure.failedAt == 0 {
		return 0
	}
	return time.Duration(p.host.world.now - max(p.failure.failedAt, p.host.paused))
}

// declines says that a replica that is told to take over says that it cannot.
func (s *shard) declines(replica uint64) bool {
	p := s.world.hosts[replica-1].places[s.id-1]
	return p == nil || p.failure.machine
}
