package simulation

import (
	"sort"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// shard is what the world knows of one shard: who its members are, and all that the checkers have seen of it.
type shard struct {
	world     *World
	id        uint64
	members   map[uint64]string            // handed to the engine; never iterated here
	voters    []int                        // hosts, those of witnesses too
	witnesses []bool                       // by host
	kinds     map[uint64]raftpb.MemberKind // handed to the engine; never iterated here
	places    []*place                     // of the first members, and of those that wait to be added
	spares    bool

	machineKind machineKind
	pulls       map[uint64]uint64 // by stream: up to where the receiver had it when it asked last

	variants       [][]variant   // by index-1: every entry that was ever written there
	committed      []entry       // by index-1: what was decided, up to the last index that was applied anywhere
	commands       []command     // by index-1: what the state machines were given
	proven         uint64        // a majority held this entry durably in the entry's own term
	proofs         []proof       // when that rose, ascending
	sessions       *sessionTable // nil in a run without
	leaders        map[uint64]claim
	newestTerm     uint64 // of them
	transfers      []*transferRequest
	handOvers      []handOver
	changeRequests []*changeRequest
	operations     []memberOperation
	votes          map[voteKey]uint64
	begun          map[voter]int64 // since when incarnations were durable somewhere; looked up, never iterated
	configurations []configuration // by their entries, the initial one first
	incarnations   []voter         // that held an entry; a bit of variant.holders each
	successor      *shard          // the shard of that number that was rebuilt and took its place
	births         uint64          // entries that it began with, see rebirth
	base           [keyCount]uint64
	former         *shard
	exports        []*export
	shown          []moment // when which entry was shown, ascending
	floor          uint64   // highest index that a finished request has shown
}

// variant is an entry that somebody wrote at an index.
type variant struct {
	entry
	previousTerm uint64
	holders      uint64 // incarnations that had it durable while their term was the entry's
	leader       uint8  // host that wrote it first, before it could be received anywhere
}

// command is what was applied at an index; the zero value is an entry of the engine's own, or nothing yet.
type command struct {
	operation uint64
	state     uint64
	hash      uint64
	subject   uint64 // StateHash of the user's machine, if one was asked right after this command
	asked     bool
}

// proof says that everything up to an entry was decided in a term, the entry's own.
type proof struct{ index, term uint64 }

type claim struct{ replica, session uint64 }

type voteKey struct{ replica, incarnation, term uint64 }

type commitCheck struct {
	shard        *shard
	commit, term uint64
}

type leaderCheck struct {
	shard *shard
	term  uint64
}

func newShard(w *World, id uint64, r *random) *shard {
	s := &shard{world: w, id: id, members: map[uint64]string{}, leaders: map[uint64]claim{}, votes: map[voteKey]uint64{}, begun: map[voter]int64{}, pulls: map[uint64]uint64{}}
	size := pick(r, []int{3, 3, 3, 3, 5, 5, 7, 1, 2, 4})
	size = min(size, len(w.hosts))
	order := make([]int, len(w.hosts))
	for i := range order {
		order[i] = i
	}
	for i := range order {
		j := i + r.below(len(order)-i)
		order[i], order[j] = order[j], order[i]
	}
	witnesses := r.chance(0.25)
	s.witnesses, s.kinds = make([]bool, len(w.hosts)), map[uint64]raftpb.MemberKind{}
	chosen := make([]bool, len(w.hosts))
	for _, i := range order[:size] {
		chosen[i] = true
	}
	for i, h := range w.hosts {
		if chosen[i] {
			s.voters = append(s.voters, i)
			s.members[uint64(i+1)] = h.address
			if len(s.voters) > 2 && len(s.voters)%2 == 1 && witnesses { // the third, the fifth, the seventh
				s.witnesses[i] = true
				s.kinds[uint64(i+1)] = raftpb.Witness
			}
		}
	}
	s.spares = w.plan.rates[countChange] > 0 && r.chance(0.7) && len(s.kinds) == 0
	var initial raftpb.Membership
	for _, host := range s.voters {
		initial.Members = append(initial.Members, raftpb.Member{ReplicaID: uint64(host + 1), Kind: max(raftpb.Voter, s.kinds[uint64(host+1)])})
	}
	s.configurations = append(s.configurations, configurationOf(0, 0, &initial))
	return s
}

// placeOn makes the place of the shard on a host, nil if it has none there. On a host that is none of the first members a replica may
// wait to be added.
func (s *shard) placeOn(h *host) *place {
	joins := s.members[uint64(h.index+1)] == ""
	if joins && !s.spares {
		return nil
	}
	p := &place{host: h, shard: s, wanted: true, joins: joins}
	s.places = append(s.places, p)
	return p
}

// intact counts the voters that never lost what they had promised.
func (s *shard) intact() int {
	n := 0
	m := &s.committedConfiguration().membership
	for _, p := range s.places {
		if member := findMember(m, p); member != nil && member.Kind == raftpb.Voter && !p.lost && !p.removed {
			n++
		}
	}
	return n
}

// recoverable reports whether enough voters kept their promises for the shard to serve once all faults are gone.
func (s *shard) recoverable() bool { return s.keepsQuorum(nil) }

// variant returns the entry of that term at index, nil if nobody wrote one.
func (s *shard) variant(index, term uint64) *variant {
	if index == 0 || index > uint64(len(s.variants)) {
		return nil
	}
	list := s.variants[index-1]
	for i := range list {
		if list[i].term == term {
			return &list[i]
		}
	}
	return nil
}

func (s *shard) addVariant(index uint64, v variant) {
	for uint64(len(s.variants)) < index {
		s.variants = append(s.variants, nil)
	}
	s.variants[index-1] = append(s.variants[index-1], v)
}

// proveDurable notes that a host has an entry durable in the entry's own term; the leader of that term may count it.
// witness says that a place's replica holds no data.
func (p *place) witness() bool { return p.shard.witnesses[p.host.index] }

func (s *shard) proveDurable(index, term uint64, by voter) {
	if v := s.variant(index, term); v != nil {
		v.holders |= s.incarnationBit(by)
		s.prove(index, term)
	}
}

func (s *shard) command(index uint64) *command {
	if index == 0 || index > uint64(len(s.commands)) {
		return nil
	}
	return &s.commands[index-1]
}

// priorities are those of the plan for the shard's first members.
func (s *shard) priorities(p plan) map[uint64]raftpb.Priority {
	priorities := map[uint64]raftpb.Priority{}
	for id := range s.members {
		if priority, ok := p.priorities[id]; ok {
			priorities[id] = priority
		}
	}
	return priorities
}

// moment is when an entry was first shown to a client, by an answer.
type moment struct {
	at    int64
	index uint64
}

// show notes that a client was shown an entry.
func (s *shard) show(index uint64) {
	if index <= s.floor {
		return
	}
	s.floor = index
	s.shown = append(s.shown, moment{s.world.now, index})
}

// shownBefore returns the last entry that had been shown before an instant of the world.
func (s *shard) shownBefore(at int64) uint64 {
	i := sort.Search(len(s.shown), func(i int) bool { return s.shown[i].at >= at })
	if i == 0 {
		return 0
	}
	return s.shown[i-1].index
}
