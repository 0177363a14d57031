package simulation

import (
	"slices"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// "Surely not applied" is a promise about the future: whatever is still on its way, doubled or late, must not bring about later what a
// caller was told does not happen. What happens here is held against who asked for it: each hand-over of leadership needs somebody
// who asked for one and was not told so.

// transferRequest is a transfer of leadership that was asked for and not refused.
type transferRequest struct {
	target uint64 // 0 for any
}

// handOver is a replica that was told to take over, with those whose request that may have been.
type handOver struct {
	from, to, term uint64
	asked          []*transferRequest
}

// transferAsked notes a request and returns what its end is to be told to. A host that crashes takes the callback along: nobody was told
// anything.
func (p *place) transferAsked(target uint64) (ended func(error)) {
	s, request := p.shard, &transferRequest{target: target}
	s.transfers = append(s.transfers, request)
	return func(err error) {
		if err == nil || engine.MaybeApplied(err) {
			return
		}
		s.transfers = slices.DeleteFunc(s.transfers, func(other *transferRequest) bool { return other == request })
		s.world.counters.add(countTransferRefused, 1)
		term := s.newestTerm // its leader may be this very replica, and not have said a word yet
		if m := p.host.disk.memory[keyOf(p)]; m != nil {
			term = max(term, m.state.Term)
		}
		for i := range s.handOvers {
			o := &s.handOvers[i]
			had := len(o.asked)
			o.asked = slices.DeleteFunc(o.asked, func(other *transferRequest) bool { return other == request })
			if had > 0 && len(o.asked) == 0 && o.term >= term && !s.declines(o.to) {
				s.world.violate("outcomes", "shard %d: a transfer to replica %d (0: any) surely did not happen (%v), but replica %d told %d to take over in term %d",
					s.id, request.target, err, o.from, o.to, o.term)
			}
		}
	}
}

// checkHandOver looks at a leader that tells another replica to take over. One of a term that is over can bring nothing about: a majority
// has voted in a later one.
func (w *World) checkHandOver(h *host, s *shard, m *raftpb.Message) {
	if m.Reason != raftpb.ReasonNone || m.Term < s.newestTerm || w.handsOverByItself(h, s) {
		return
	}
	o := handOver{from: m.From, to: m.To, term: m.Term}
	for _, request := range s.transfers {
		if request.target == 0 || request.target == m.To {
			o.asked = append(o.asked, request)
		}
	}
	if len(o.asked) == 0 {
		w.violate("outcomes", "shard %d: replica %d tells %d to take over in term %d, but whoever asked for a transfer was told that it surely does not happen",
			s.id, m.From, m.To, m.Term)
		return
	}
	s.handOvers = append(s.handOvers, o)
}

// handsOverByItself says whether a leader may have reasons of its own: another one has a higher priority, it is being stopped, its disk
// is not well, or it has led its own removal to its end and is no voter any more.
func (w *World) handsOverByItself(h *host, s *shard) bool {
	if len(w.plan.priorities) > 0 { // to one with a higher priority
		return true
	}
	for _, kind := range [...]counter{countSlowDisk, countStall, countFailedSync, countFullDisk} {
		if w.plan.rates[kind] > 0 {
			return true
		}
	}
	p := h.places[s.id-1]
	if p == nil || !s.effective(h.disk.memory[keyOf(p)]).votes(h.index, p.incarnation()) {
		return true
	}
	if p.failure.machine { // nor is its state machine
		return true
	}
	return w.options.LogDB != "" && w.options.LogDB != "model" || p.state != placeRunning || h.stoppingAll
}
