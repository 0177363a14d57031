package engine

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/raft"
)

// The wheel against a plain list: a replica fires once, at the deadline that it was armed with last, or at most a grain later.
func TestWheelFiresLikeAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w wheel
		now := raft.Instant(1e9)
		w.fire(now, nil)
		replicas := make([]*Replica, 8)
		want := make([]raft.Instant, len(replicas)) // 0: not armed
		for i := range replicas {
			replicas[i] = &Replica{shardID: uint64(i)}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			i := rapid.IntRange(0, len(replicas)-1).Draw(t, "replica")
			switch rapid.IntRange(0, 3).Draw(t, "action") {
			case 0, 1:
				deadline := now + raft.Instant(rapid.Int64Range(-1e6, 30e9).Draw(t, "in"))
				w.arm(replicas[i], deadline)
				want[i] = deadline
			case 2:
				w.disarm(replicas[i])
				want[i] = 0
			case 3:
				now += raft.Instant(rapid.Int64Range(0, 9e9).Draw(t, "elapsed"))
				for _, r := range w.fire(now, nil) {
					if want[r.shardID] == 0 {
						t.Fatalf("replica %d fired and was not armed", r.shardID)
					}
					if want[r.shardID] > now {
						t.Fatalf("replica %d fired %d early", r.shardID, want[r.shardID]-now)
					}
					want[r.shardID] = 0
				}
			}
			checkWheel(t, &w, now, want)
		}
	})
}

func checkWheel(t *rapid.T, w *wheel, now raft.Instant, want []raft.Instant) {
	armed, next := 0, raft.Never
	for _, deadline := range want {
		if deadline != 0 {
			armed++
			next = min(next, deadline)
		}
	}
	if armed != w.count {
		t.Fatalf("%d armed, the wheel counts %d", armed, w.count)
	}
	if armed == 0 {
		if w.next() != raft.Never {
			t.Fatalf("next is %d with nothing armed", w.next())
		}
		return
	}
	if next > now && w.next() > next+wheelGrain {
		t.Fatalf("next is %d, more than a grain after the deadline %d", w.next(), next)
	}
}

func TestWheelLeavesLaterDeadlinesAlone(t *testing.T) {
	var w wheel
	r := &Replica{}
	w.fire(1e9, nil)
	w.arm(r, 2e9)
	w.arm(r, 3e9)
	if got := w.next(); got != 2e9 {
		t.Fatalf("next is %d, want the first deadline", got)
	}
	if due := w.fire(2e9-1, nil); len(due) != 0 {
		t.Fatal("fired early")
	}
	if due := w.fire(2e9, nil); len(due) != 0 {
		t.Fatal("fired at its former deadline")
	}
	if got := w.next(); got != 3e9 {
		t.Fatalf("next is %d, want the deadline", got)
	}
	if due := w.fire(3e9, nil); len(due) != 1 || due[0] != r {
		t.Fatal("did not fire at its deadline")
	}
}

func TestAllocationsOfTheWheel(t *testing.T) {
	var w wheel
	replicas := make([]Replica, 100)
	due := make([]*Replica, 0, 100)
	now := raft.Instant(1e9)
	allocations := testing.AllocsPerRun(100, func() {
		for i := range replicas {
			w.arm(&replicas[i], now+raft.Instant(i)*1e6)
		}
		now += 1e9
		due = w.fire(now, due[:0])
	})
	if allocations > 0 {
		t.Errorf("%v allocations, want none", allocations)
	}
}
