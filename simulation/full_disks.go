package simulation

import (
	"fmt"
	"time"
)

// electOnFullDisks comes behind the last fault, in some runs of profile "disks": all hosts are started anew with no more room than the reserve, which
// is there for votes, for the entry with which a term begins, and for changes of members (R10). So every shard that could serve has to elect a
// leader before anybody makes room, and if none of its voters lost anything that leader's first entry has to be decided.
func (w *World) electOnFullDisks() {
	draws := random{state: mix(w.options.Seed ^ 0x66756c6c)}
	if w.options.Profile != "disks" || w.plan.rates[countFullDisk] == 0 || !draws.chance(0.3) {
		return
	}
	w.tight = true
	for _, h := range w.hosts {
		h.crash()
		w.after(draws.between(0, int64(300*time.Millisecond)), func() { w.bootIfDown(h) })
	}
	bound := w.now + int64(recoveryElections*w.plan.raft.ElectionTimeout+recoverySlack)
	missing := w.leaderless()
	for missing != "" && w.violation == nil && w.now < bound {
		w.runUntil(w.now+int64(20*time.Millisecond), func() bool { return false })
		missing = w.leaderless()
	}
	if missing != "" {
		w.violate("full disk", "%s, although the reserve is kept for that", missing)
	}
	w.tight = false
	for _, h := range w.hosts {
		h.fill(false)
	}
}

// fill makes a host's disk full, or gives it room.
func (h *host) fill(full bool) {
	if h.up && h.disk.full != full {
		h.disk.full = full
		h.engine.SetDiskFull(full)
		h.wake()
	}
}

// leaderless says which shard has no leader that could decide something; empty if none.
func (w *World) leaderless() string {
	for _, s := range w.shards {
		if !s.recoverable() {
			continue
		}
		led := false
		for _, p := range s.places {
			if p.state != placeRunning || !p.replica.Leading() {
				continue
			}
			_, term := p.replica.Leader()
			led = led || s.provenTerm() >= term || !s.whole()
		}
		if !led {
			return fmt.Sprintf("shard %d has no leader whose first entry is decided", s.id)
		}
	}
	return ""
}

// whole says that all members are voters that lost nothing, and that none is about to be another.
func (s *shard) whole() bool {
	c := s.committedConfiguration()
	for _, p := range s.places {
		if log := p.host.disk.memory[keyOf(p)]; log != nil && s.effective(log).index > c.index {
			return false
		}
	}
	return s.intact() == len(c.members)
}

// provenTerm returns the newest term in which something was decided.
func (s *shard) provenTerm() uint64 {
	if len(s.proofs) == 0 {
		return 0
	}
	return s.proofs[len(s.proofs)-1].term
}
