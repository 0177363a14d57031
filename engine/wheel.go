package engine

import (
	"math/bits"
	"time"

	"github.com/flotilla-raft/flotilla/raft"
)

const (
	wheelSlots = 4096
	// wheelGrain is the width of a slot. Deadlines are rounded up to it, so a replica is never touched early.
	wheelGrain = raft.Instant(time.Millisecond)
)

// wheel finds the replicas whose deadline is due. Each replica is in at most one slot, in a list threaded through the
// replicas themselves, so arming and firing allocate nothing and idle replicas cost nothing.
//
// A deadline that moves later only changes a number: at its old slot the replica is moved to where it belongs now, and not touched.
// Only one that moves earlier is relinked at once. Deadlines beyond the horizon (4 s) wait in the last slot in the same
// way, so that a replica with a long timeout costs a move every few seconds and nothing more.
type wheel struct {
	slots    [wheelSlots]*Replica
	occupied [wheelSlots / 64]uint64
	early    []*Replica // owned by fire: found in a slot before the one where they belong
	position int64      // every slot before this one, counted from instant 0, has fired
	count    int
}

// slotOf returns the number of the slot that fires no earlier than deadline.
func slotOf(deadline raft.Instant) int64 {
	return int64((deadline + wheelGrain - 1) / wheelGrain)
}

// arm makes the replica fire at deadline, and not at what it was armed with before.
func (w *wheel) arm(r *Replica, deadline raft.Instant) {
	r.wheelDeadline = deadline
	if deadline == raft.Never {
		return
	}
	slot := max(slotOf(deadline), w.position)
	slot = min(slot, w.position+wheelSlots-1)
	if r.wheelArmed {
		if r.wheelSlot <= slot {
			return
		}
		w.disarm(r)
	}
	r.wheelArmed, r.wheelSlot = true, slot
	place := slot % wheelSlots
	r.wheelPrevious, r.wheelNext = nil, w.slots[place]
	if r.wheelNext != nil {
		r.wheelNext.wheelPrevious = r
	}
	w.slots[place] = r
	w.occupied[place/64] |= 1 << (place % 64)
	w.count++
}

// disarm takes a replica out.
func (w *wheel) disarm(r *Replica) {
	if !r.wheelArmed {
		return
	}
	place := r.wheelSlot % wheelSlots
	if r.wheelPrevious != nil {
		r.wheelPrevious.wheelNext = r.wheelNext
	} else {
		w.slots[place] = r.wheelNext
		if r.wheelNext == nil {
			w.occupied[place/64] &^= 1 << (place % 64)
		}
	}
	if r.wheelNext != nil {
		r.wheelNext.wheelPrevious = r.wheelPrevious
	}
	r.wheelPrevious, r.wheelNext, r.wheelArmed = nil, nil, false
	w.count--
}

// fire takes out every replica whose deadline is due at now and appends it to due.
func (w *wheel) fire(now raft.Instant, due []*Replica) []*Replica {
	current := int64(now / wheelGrain)
	if current < w.position {
		return due
	}
	if w.count > 0 {
		last := min(current, w.position+wheelSlots-1)
		for slot := w.nextOccupied(w.position); slot >= 0 && slot <= last; slot = w.nextOccupied(slot) {
			for r := w.slots[slot%wheelSlots]; r != nil; r = w.slots[slot%wheelSlots] {
				w.disarm(r)
				if r.wheelDeadline > now {
					w.early = append(w.early, r)
				} else {
					due = append(due, r)
				}
			}
		}
	}
	w.position = current + 1
	for i, r := range w.early {
		w.arm(r, r.wheelDeadline)
		w.early[i] = nil
	}
	w.early = w.early[:0]
	return due
}

// next returns when the wheel wants to be fired, or Never.
func (w *wheel) next() raft.Instant {
	if w.count == 0 {
		return raft.Never
	}
	return raft.Instant(w.nextOccupied(w.position)) * wheelGrain
}

// nextOccupied returns the first slot at or after from that holds a replica, or -1. It looks at most once round.
func (w *wheel) nextOccupied(from int64) int64 {
	if w.count == 0 {
		return -1
	}
	place := from % wheelSlots
	word, shift := place/64, place%64
	masked := w.occupied[word] &^ (1<<shift - 1)
	for i := int64(0); i <= wheelSlots/64; i++ {
		if masked != 0 {
			found := word*64 + int64(bits.TrailingZeros64(masked))
			return from + (found-place+wheelSlots)%wheelSlots
		}
		word = (word + 1) % (wheelSlots / 64)
		masked = w.occupied[word]
	}
	return -1
}
