package engine

import (
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// departure is the time between StopReplica and the stop of a leader. Its shard would otherwise be without one for a whole election
// timeout. Proposals are refused meanwhile (ErrTransferring), those that wait in the queue too: behind a batch that cannot be
// committed they would wait for the stop. The replica goes on voting, replicating and acknowledging, since the target needs
// that to win and to commit, and is stopped when the core says that the transfer is done, or that nobody can take over, or at
// the deadline.
type departure struct {
	done     func(error)
	deadline raft.Instant
	asked    bool // the transfer is under way and its end will be told
	over     bool
}

// depart is what StopReplica comes down to.
func (w *StepWorker) depart(r *Replica, done func(error)) {
	if r.stopped || r.departure != nil {
		done(ErrNotStarted)
		return
	}
	if r.renewal != nil && !r.renewal.failed {
		if r.renewal.stop != nil {
			done(ErrNotStarted)
			return
		}
		w.stopRenewed(r, done)
		return
	}
	if r.fenced || !r.core.IsLeader() {
		w.stop(r, done)
		return
	}
	r.departure = &departure{done: done, deadline: w.now + raft.Instant(r.core.ElectionTimeout())}
	r.refuse(ErrTransferring)
	for _, p := range r.queue.takeOpen() {
		p.fail(ErrTransferring)
	}
	w.touch(r)
}

// followDeparture begins the hand-over, and sees that leadership went by another way, as by a transfer that was under way already.
func (w *StepWorker) followDeparture(r *Replica) {
	d := r.departure
	if d == nil || d.over || d.asked {
		return
	}
	if !r.core.IsLeader() {
		if leader, _ := r.core.Leader(); leader != 0 && len(r.transfers) == 0 { // whoever asked for it is told first
			w.departed(r)
		}
		return
	}
	w.transferID++
	id := w.transferID
	switch reason := r.core.TransferLeader(w.now, id, 0); reason {
	case raftpb.ReasonNone:
		d.asked = true
		r.transfers = append(r.transfers, transfer{id, 0, func(err error) { w.handedOver(r, err) }, w.now})
		w.touch(r)
	case raftpb.ReasonTransferring:
	default:
		w.departed(r) // there is nobody to take over
	}
}

// handedOver takes the outcome of the transfer. One that failed while this replica leads on is tried again in the time that is left.
func (w *StepWorker) handedOver(r *Replica, err error) {
	if err != nil && !r.fenced && r.core.IsLeader() && w.now < r.departure.deadline {
		r.departure.asked = false
		w.touch(r)
		return
	}
	w.departed(r)
}

func (w *StepWorker) expireDeparture(r *Replica) {
	if r.departure != nil && w.now >= r.departure.deadline {
		w.departed(r)
	}
}

// departed ends the hand-over. The stop itself comes when no core is being worked on.
func (w *StepWorker) departed(r *Replica) {
	if d := r.departure; d != nil && !d.over {
		d.over = true
		w.departures = append(w.departures, r)
	}
}

func (w *StepWorker) endDepartures() {
	for i := 0; i < len(w.departures); i++ {
		r := w.departures[i]
		w.stop(r, r.departure.done)
		w.departures[i] = nil
	}
	w.departures = w.departures[:0]
}
