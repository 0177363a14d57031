package simulation

import (
	"slices"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
)

// What operators do, as docs/operations.md has it: a replica is repaired while it runs, or marked for it; snapshots are exported; a shard is
// rebuilt from an export, or from the best log that is left (rebuild.go).

// actRates says how often operators do something in a minute, for all hosts together.
var actRates = map[string][firstActOutcome - firstAct]float64{
	// repairs, marks for repair, exports, imports, recoveries
	"operator": {5, 2, 25, 4, 2.5},
}

// acts are what a place knows of them.
type acts struct {
	// away: it may not be started. erase: its data is to be removed before anything else.
	away, erase bool
	repairing   bool   // it was asked to be rebuilt
	rests       bool   // it takes no part for that, though its storage lost nothing
	begins      uint64 // incarnation that an import gives it
	rebuilt     bool   // by the import or the recovery under way
	former      *place // that the host had of the life before
}

func (n *nemesis) beginActs() {
	w := n.world
	draws := random{state: mix(w.options.Seed ^ 0x6f70)}
	if w.options.Profile != "operator" && !draws.chance(0.5) {
		return
	}
	for i, rate := range actRates[w.options.Profile] {
		kind := firstAct + counter(i)
		own := &nemesis{world: w, random: draws.fork(), cuts: n.cuts}
		if rate > 0 && !slices.Contains(w.options.Without, counterNames[kind]) {
			own.repeat(kind, rate, func() bool { return own.act(kind, pick(&own.random, w.hosts)) })
		}
	}
}

func (n *nemesis) act(kind counter, h *host) bool {
	switch kind {
	case countRepair:
		return n.repair(h)
	case countMarkRepair:
		return n.markForRepair(h)
	case countExport:
		return n.export(h)
	case countImport:
		var exported []*shard
		for _, s := range n.world.shards {
			if len(s.exports) > 0 {
				exported = append(exported, s)
			}
		}
		return len(exported) > 0 && n.importShard(pick(&n.random, exported))
	}
	return n.recoverShard(pick(&n.random, n.world.shards))
}

// repair has a replica that runs rebuilt from the others.
func (n *nemesis) repair(h *host) bool {
	p := h.places[n.random.below(len(h.places))]
	if p == nil || p.state != placeRunning || p.lost || !p.shard.knows(p) || !n.mayLose([]*place{p}) {
		return false
	}
	n.note(h, counterNames[countRepair], p.shard.id, 0)
	asked := p.repairing
	p.repairing = true // it may begin anew before it is known here that it was asked
	p.replica.Repair(func(err error) {
		if err != nil {
			p.repairing = asked
		}
	})
	h.wake()
	return true
}

// awakes notes that a replica that was asked to be rebuilt has forgotten that at a restart.
func (p *place) awakes() {
	if p.rests && !p.healed && p.host.promise.records[keyOf(p)].VoteTerm != raft.Lost().VoteTerm && p.reached() {
		p.lost = false
	}
	p.rests = false
}

// markForRepair marks a replica of a host that is stopped for it. One that is being imported is not: finishing the import forgets the mark with
// all that the host had promised, and rightly, for what was to be thrown away is gone, and what begins has promised nothing.
func (n *nemesis) markForRepair(h *host) bool {
	p := h.places[n.random.below(len(h.places))]
	if p == nil || p.importing() || p.lost || p.shard.successor != nil || !p.shard.knows(p) || !n.mayLose([]*place{p}) {
		return false
	}
	n.note(h, counterNames[countMarkRepair], p.shard.id, 0)
	n.crash(h, 0, time.Second)
	if err := h.promise.Record([]engine.PromiseRecord{{Key: keyOf(p), Promised: raft.Lost()}}); err != nil || p.lost {
		return false
	}
	n.world.lose(p)
	return true
}

// importing says that an import of a replica is under way, or is decided and waits for the start of its host.
func (p *place) importing() bool {
	shardID, _ := p.host.decidedImport()
	return p.away || shardID == p.shard.id
}
