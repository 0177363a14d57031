package engine

import (
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// A route that was learned from where a message came from follows its sender to another host; one of the membership stays.
func TestALearnedRouteFollowsItsSender(t *testing.T) {
	w := newBareEngine(t).workers[0]
	r := &Replica{}
	fixed := w.outboxOf("member")
	r.routes = append(r.routes, route{replicaID: 1})
	r.lead(0, fixed)
	w.learn(r, 1, "elsewhere")
	w.learn(r, 2, "old")
	w.learn(r, 2, "new")
	w.learn(r, 2, "new")
	w.learn(r, 3, "") // nobody knows where it came from
	if len(r.routes) != 2 || r.routes[0].outbox != fixed || r.routes[1].outbox != w.outboxOf("new") {
		t.Errorf("routes are %+v", r.routes)
	}
	if old, moved := w.outboxOf("old"), w.outboxOf("new"); len(old.replicas) != 0 || len(moved.replicas) != 1 {
		t.Errorf("%d replicas at the old place, %d at the new one", len(old.replicas), len(moved.replicas))
	}
	w.dropRoutes(r)
	for _, address := range []string{"member", "old", "new"} {
		if n := len(w.outboxOf(address).replicas); n != 0 {
			t.Errorf("%s keeps %d replicas", address, n)
		}
	}
}

// Whoever leaves takes nobody's place along: every route knows its place on the list of its host, and no list holds anything else.
func TestRoutesKnowTheirPlace(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newBareEngine(t).workers[0]
		replicas := make([]*Replica, 6)
		for i := range replicas {
			replicas[i] = &Replica{shardID: uint64(i)}
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			r := replicas[rapid.IntRange(0, len(replicas)-1).Draw(rt, "replica")]
			if rapid.IntRange(0, 4).Draw(rt, "drop") == 0 {
				w.dropRoutes(r)
			} else {
				w.learn(r, rapid.Uint64Range(1, 3).Draw(rt, "member"), "host"+strconv.Itoa(rapid.IntRange(1, 3).Draw(rt, "host")))
			}
			routes, listed := 0, 0
			for _, r := range replicas {
				for i := range r.routes {
					routes++
					if at := r.routes[i].outbox.replicas[r.routes[i].place]; at.replica != r || at.route != i {
						rt.Fatalf("route %d of shard %d is not in its place", i, r.shardID)
					}
				}
			}
			for _, box := range w.outboxes {
				listed += len(box.replicas)
			}
			if routes != listed {
				rt.Fatalf("%d routes, %d on the lists", routes, listed)
			}
		}
	})
}

func TestAllReplicasKnowTheirPlace(t *testing.T) {
	var w StepWorker
	var replicas []*Replica
	for i := range 5 {
		r := &Replica{shardID: uint64(i), place: i}
		replicas, w.all = append(replicas, r), append(w.all, r)
	}
	for _, gone := range []int{0, 4, 2, 1, 3} {
		w.forget(replicas[gone])
		for i, r := range w.all {
			if r.place != i || r == replicas[gone] {
				t.Fatalf("without %d: shard %d at %d believes to be at %d", gone, r.shardID, i, r.place)
			}
		}
	}
	if len(w.all) != 0 {
		t.Errorf("%d are left", len(w.all))
	}
}
