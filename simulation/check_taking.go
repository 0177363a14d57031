package simulation

import (
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// untaken is what a replica whose state machine failed was sent and has not taken, though it fits behind what it has.
type untaken struct {
	life       uint32
	term, last uint64
	since      int64
	times      int
}

// takingPatience is how long, and takingTimes how often, a replica may be sent what fits and not take it: its host may have been busy.
const (
	takingPatience = time.Second
	takingTimes    = 3
	fetchPatience  = 10 * time.Second // behind the last of a snapshot
)

// checkTakes: a replica whose state machine failed goes on taking entries, for what it promises does not depend on its state machine (R24).
// Without it a shard of which one member is down and the state machine of another fails would take no writes.
func (p *place) checkTakes(m *raftpb.Message) {
	if m.Type == raftpb.MessageInstallSnapshot || m.Type == raftpb.MessageSnapshotChunk {
		p.offeredAt = p.host.world.now // while a snapshot is fetched nothing else is taken
	}
	if m.Type != raftpb.MessageReplicate || p.failure.failedAt == 0 || p.state != placeRunning || p.failure.fence || p.failure.fenced || p.lost || len(m.Batches) == 0 {
		return
	}
	w, d := p.host.world, p.host.disk
	log := d.memory[keyOf(p)]
	if log == nil || m.Term != log.state.Term || !log.holds(m.LogIndex, m.LogTerm) || log.installing != 0 || d.failed || d.full || d.mayFail() {
		return
	}
	if last := m.Batches[len(m.Batches)-1]; len(last) < raftpb.HeaderSize || last.Last() <= log.last() {
		return
	}
	u := &p.untaken
	if u.life != p.host.life || u.term != m.Term || u.last != log.last() {
		*u = untaken{life: p.host.life, term: m.Term, last: log.last(), since: w.now}
	}
	u.since = max(u.since, p.failure.failedAt, p.host.paused, d.slowUntil, d.stalledUntil, p.offeredAt+int64(fetchPatience))
	if u.times++; u.times > takingTimes && w.now-u.since > int64(takingPatience) {
		w.violate("quarantine", "%s does not take entry %d of term %d, which it was sent %d times since its state machine failed", p.describe(), log.last()+1, m.Term, u.times)
	}
}
