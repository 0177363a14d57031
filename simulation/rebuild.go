package simulation

import (
	"errors"
	"slices"
	"time"

	"github.com/flotilla-raft/flotilla/internal/rebuild"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// rebuilding is a shard that its operator rebuilds: its hosts are stopped, what is to be done is done on each of those that are to have it, again if
// the power goes meanwhile, and only then are its replicas started. What runs is package rebuild, as in production.
type rebuilding struct {
	shard    *shard // the new life
	export   *export
	recovery uint64 // number of an import
	random   random
	begins   uint64   // entry with which a recovered life begins
	left     []*place // where it is not done
}

// stopAll stops every host that has a replica of a shard, and returns them.
func (n *nemesis) stopAll(s *shard) {
	for _, h := range n.world.hosts {
		if h.places[s.id-1] != nil {
			n.crash(h, 0, 2*time.Second)
			h.disk.backup = nil // nothing would notice a copy of a former life
		}
	}
}

// idle says that nothing is being done to a shard, and that it has decided something. Sessions of a former life are not followed into the next one.
func (n *nemesis) idle(s *shard) bool {
	return n.world.sessions == nil && len(s.committed) > 0 && s.proven > 0 && !slices.ContainsFunc(n.world.rebuildings, func(r *rebuilding) bool { return r.shard == s })
}

// importShard rebuilds a shard from an export, on some of the hosts that have replicas of it.
func (n *nemesis) importShard(s *shard) bool {
	if !n.idle(s) || len(s.exports) == 0 {
		return false
	}
	x := pick(&n.random, s.exports)
	var hosts []*host
	for _, h := range n.world.hosts {
		if h.places[s.id-1] != nil {
			hosts = append(hosts, h)
		}
	}
	size := min(len(hosts), pick(&n.random, []int{1, 2, 3, 3, 3, 5}))
	for i := range size {
		j := i + n.random.below(len(hosts)-i)
		hosts[i], hosts[j] = hosts[j], hosts[i]
	}
	n.stopAll(s)
	n.note(hosts[0], counterNames[countImport], s.id, x.meta.index)
	next := s.rebirth(x.of, x.of.history(x.meta.index, x.meta.term))
	r := &rebuilding{shard: next, export: x, recovery: n.random.next() | 1, random: n.random.fork()}
	members := map[uint64]string{}
	for _, h := range hosts[:size] {
		members[uint64(h.index+1)] = h.address
	}
	config, err := r.verify(hosts[0], members)
	if err != nil {
		n.world.violate("import", "shard %d: a snapshot that was exported is refused: %v", s.id, err)
		return false
	}
	next.begin(x.meta.index, x.meta.term, &config)
	n.leave(s, hosts[:size], x.meta.index)
	for _, h := range hosts[:size] {
		p := next.settleOn(h, false)
		p.away, p.begins = true, findMember(&config, p).Incarnation
		r.left = append(r.left, p)
	}
	n.world.rebuildings = append(n.world.rebuildings, r)
	for _, p := range r.left {
		n.world.after(r.random.between(0, int64(3*time.Second)), func() { r.try(p) })
	}
	return true
}

// recoverShard rebuilds a shard from the best log of those hosts that are left: fewer than a quorum.
func (n *nemesis) recoverShard(s *shard) bool {
	if !n.idle(s) || !s.recoverable() {
		return false
	}
	n.stopAll(s)
	config := s.committedConfiguration()
	var left []*place
	for _, p := range s.places {
		m := p.host.disk.durable[keyOf(p)]
		known := s.effective(m)
		if !p.lost && m != nil && m.last() > 0 && m.installing == 0 && p.reached() && known.votes(p.host.index, m.incarnation) && config.votes(p.host.index, m.incarnation) &&
			!p.witness() && !p.host.disk.mayFail() {
			left = append(left, p)
		}
	}
	if len(left) == 0 {
		return false // the hosts come back
	}
	for i := range left {
		j := i + n.random.below(len(left)-i)
		left[i], left[j] = left[j], left[i]
	}
	survivors := left[:1+n.random.below((len(left)+1)/2)]
	best := survivors[0]
	for _, p := range survivors[1:] {
		a, b := p.host.disk.durable[keyOf(p)], best.host.disk.durable[keyOf(best)]
		if a.lastTerm() > b.lastTerm() || a.lastTerm() == b.lastTerm() && a.last() > b.last() {
			best = p
		}
	}
	m := best.host.disk.durable[keyOf(best)]
	n.note(best.host, counterNames[countRecover], s.id, m.last())
	next := s.rebirth(s, m.entries)
	for _, c := range s.configurations {
		if c.index <= m.last() && m.holds(c.index, c.term) {
			c.decided = true
			next.configurations = append(next.configurations, c)
		}
	}
	self := raftpb.Member{ReplicaID: uint64(best.host.index + 1), Kind: raftpb.Voter, Address: best.host.address, Incarnation: m.incarnation}
	next.begin(m.last()+1, max(m.state.Term, m.lastTerm())+raft.RebuiltTerms, &raftpb.Membership{ID: m.last() + 1, Members: []raftpb.Member{self}})
	n.leave(s, []*host{best.host}, m.last())
	p := next.settleOn(best.host, false)
	p.away = true
	r := &rebuilding{shard: next, begins: m.last() + 1, random: n.random.fork(), left: []*place{p}}
	n.world.rebuildings = append(n.world.rebuildings, r)
	n.world.after(r.random.between(0, int64(3*time.Second)), func() { r.try(p) })
	return true
}

// leave says what becomes of the hosts that have replicas of the former life: some come back with them, fewer than could ever decide anything, and
// none that was added behind the entry that the new life begins with, for those are not told. What the others have is erased.
func (n *nemesis) leave(s *shard, taken []*host, index uint64) {
	var back []*place
	for _, p := range slices.Clone(s.places) {
		if slices.Contains(taken, p.host) || !p.present() {
			continue
		}
		m := p.host.disk.durable[keyOf(p)]
		p.wanted, p.removed, p.gone = false, false, false
		switch {
		case n.random.chance(0.6) && m != nil && m.last() > 0 && s.knew(p, m, index) && !s.decides(append(back, p)):
			back = append(back, p)
			p.away = true
			n.world.counters.add(countFormerReturned, 1)
			n.world.after(n.random.between(int64(100*time.Millisecond), int64(15*time.Second)), p.comesBack)
		default:
			p.away, p.erase = true, true
		}
	}
}

// comesBack ends the absence of a replica of a former life.
func (p *place) comesBack() {
	if p.present() && p.away && !p.erase {
		p.away, p.wanted = false, true
		p.settle()
	}
}

// knew says that a replica was a member by the entry at index, as what it is now.
func (s *shard) knew(p *place, m *mirror, index uint64) bool {
	before := &s.configurations[0]
	for i := range s.configurations {
		c := &s.configurations[i]
		member := findMember(&c.membership, p)
		switch {
		case c.index <= index && c.decided && c.index >= before.index:
			before = c
		case c.index > index && (member == nil || member.Incarnation != m.incarnation):
			return false
		}
	}
	member := findMember(&before.membership, p)
	return !p.lost && member != nil && (member.Incarnation == m.incarnation || member.Incarnation == 0)
}

// decides says whether some replicas could be a majority in any membership that the shard ever had.
func (s *shard) decides(some []*place) bool {
	for i := range s.configurations {
		if s.configurations[i].agreed(func(v voter) bool {
			return slices.ContainsFunc(some, func(p *place) bool { return p.host.index == v.host })
		}) {
			return true
		}
	}
	return false
}

// verify is what an operator does with an export first: a damaged copy is refused.
func (r *rebuilding) verify(h *host, members map[uint64]string) (raftpb.Membership, error) {
	for _, damaged := range []bool{true, false} {
		act := rebuild.Import{ShardID: r.shard.id, ReplicaID: uint64(h.index + 1), Members: members, Recovery: r.recovery, File: r.export.file(damaged, &r.random)}
		_, config, err := act.Verify()
		switch {
		case !damaged:
			return config, err
		case err == nil:
			return config, errDamagedTaken
		}
		h.world.counters.add(countImportRefused, 1)
	}
	return raftpb.Membership{}, nil
}

var errDamagedTaken = errors.New("simulation: a damaged copy is taken for a whole one")

// try does what is to be done on one host, which is stopped for it. The power may go meanwhile, and then it is done again.
func (r *rebuilding) try(p *place) {
	w, h := r.shard.world, p.host
	if p.rebuilt || w.violation != nil {
		return
	}
	h.crash()
	done := r.attempt(p, !w.quiet && r.random.chance(0.5))
	h.disk.crash()
	h.finished()
	h.snapshots.crash()
	h.disk.backup = nil
	w.after(r.random.between(0, int64(time.Second)), func() { w.bootIfDown(h) })
	if !done && !r.isDone(p) {
		w.counters.add(countRebuildCut, 1)
		w.after(r.random.between(int64(100*time.Millisecond), int64(3*time.Second)), func() { r.try(p) })
		return
	}
	p.rebuilt = true
	r.left = slices.DeleteFunc(r.left, func(other *place) bool { return other == p })
	if len(r.left) == 0 {
		r.start()
	}
}

// isDone says whether a host has what it is to have, or will have as soon as it starts.
func (r *rebuilding) isDone(p *place) bool {
	m := p.host.disk.durable[keyOf(p)]
	if r.export == nil {
		return m != nil && m.last() >= r.begins
	}
	if m != nil && m.incarnation == p.begins {
		return true
	}
	shardID, incarnation := p.host.decidedImport()
	return shardID == p.shard.id && incarnation == p.begins
}

// attempt runs what package rebuild has for it.
func (r *rebuilding) attempt(p *place, cut bool) (done bool) {
	w, h := r.shard.world, p.host
	directory, err := h.snapshots.open(&r.random)
	if err != nil {
		w.violate("snapshot", "host %d: the directory of snapshots does not open: %v", h.index+1, err)
		return true
	}
	var cutWrite func() bool
	if cut {
		h.snapshots.files.cutAfter(1 + r.random.below(40))
		cutWrite = func() bool { return r.random.chance(0.3) }
	}
	stores := h.stores(directory, cutWrite)
	if err = h.finishImport(stores); err == nil {
		if r.export == nil {
			err = r.recover(stores, p)
		} else {
			err = r.importTo(stores, p)
		}
	}
	switch {
	case err == nil:
		return !h.snapshots.struck()
	case !errors.Is(err, errPower):
		w.violate("rebuild", "host %d: shard %d: %v", h.index+1, r.shard.id, err)
	}
	return false
}

func (r *rebuilding) importTo(stores *rebuild.Stores, p *place) error {
	act := rebuild.Import{ShardID: r.shard.id, ReplicaID: uint64(p.host.index + 1), Members: r.shard.members, Recovery: r.recovery,
		File: r.export.file(false, &r.random)}
	if _, _, err := act.Verify(); err != nil {
		return err
	}
	if err := act.Decide(stores); err != nil {
		return err
	}
	return stores.FinishImport()
}

func (r *rebuilding) recover(stores *rebuild.Stores, p *place) error {
	found, err := rebuild.Find(stores, r.shard.id, 0)
	if err != nil {
		return err
	}
	if risks := found.Risks(); len(risks) > 0 {
		p.host.world.violate("rebuild", "%s lost nothing, and is refused: %v", p.describe(), risks)
	}
	_, err = found.Write(p.host.address)
	return err
}

// start starts the replicas of the new life, and lets other hosts join it, one after the other.
func (r *rebuilding) start() {
	w := r.shard.world
	if r.export == nil {
		w.counters.add(countRecovered, 1)
	} else {
		w.counters.add(countImported, 1)
		if r.shard.machineKind.onDisk() {
			w.counters.add(countMachineImported, 1)
		}
	}
	w.rebuildings = slices.DeleteFunc(w.rebuildings, func(other *rebuilding) bool { return other == r })
	for _, p := range r.shard.places {
		if p.rebuilt {
			p.away, p.wanted = false, true
			p.settle()
		}
	}
	r.grow()
}

// grow has the leader add a voter, until there are three.
func (r *rebuilding) grow() {
	s, w := r.shard, r.shard.world
	w.after(r.random.between(int64(200*time.Millisecond), int64(3*time.Second)), func() {
		m := &s.committedConfiguration().membership
		if w.quiet || s.successor != nil || len(m.Members) >= 3 {
			return
		}
		for _, p := range s.places {
			if p.state == placeRunning && p.replica.Leading() {
				w.nemesis.add(p, m)
				break
			}
		}
		r.grow()
	})
}

// add asks a leader for another voter.
func (n *nemesis) add(leader *place, m *raftpb.Membership) {
	for _, p := range leader.shard.places {
		if p.state != placeRunning || findMember(m, p) != nil {
			continue
		}
		change := raftpb.MembershipChange{Members: []raftpb.MemberChange{{ReplicaID: uint64(p.host.index + 1), Kind: raftpb.Voter, Address: p.host.address}}}
		if n.mayBecome(leader.shard, m, &change) {
			leader.replica.ChangeMembers(change, n.ended(leader, change))
			leader.host.wake()
		}
		return
	}
}

// imports says that a replica begins as what an import makes it.
func (p *place) imports(incarnation uint64) bool { return p.begins == incarnation }

// isImported says that an import has made the replica's log, and that its state machine is yet to recover.
func (p *place) isImported() bool {
	if p.begins == 0 {
		return false
	}
	log := p.host.disk.durable[keyOf(p)]
	return log != nil && log.installing != 0
}

// holdsFormerLife says that a state machine on disk has the state of a former life of the shard, and that the log alone knows that it is to be replaced:
// nothing is guaranteed if that is lost, and the machine's data is not.
func (p *place) holdsFormerLife() bool {
	return p != nil && p.shard.machineKind.onDisk() && p.isImported()
}

// finishActs brings what operators have begun to an end, for there are no more power cuts.
func (w *World) finishActs() {
	for _, r := range slices.Clone(w.rebuildings) {
		for _, p := range slices.Clone(r.left) {
			r.try(p)
		}
	}
	for _, h := range w.hosts {
		for _, p := range h.places {
			if p == nil {
				continue
			}
			p.comesBack()
			if p.erase && h.up && p.state == placeStopped {
				p.remove()
			}
		}
	}
}

var _ logdb.LogDB = (*operatorLog)(nil)
