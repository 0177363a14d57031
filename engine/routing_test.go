package engine

import "testing"

// A route that was learned from where a message came from follows its sender to another host; one of the membership stays.
func TestALearnedRouteFollowsItsSender(t *testing.T) {
	w := newBareEngine(t).workers[0]
	r := &Replica{}
	fixed := w.outboxOf("member")
	fixed.replicas = append(fixed.replicas, r)
	r.routes = append(r.routes, route{replicaID: 1, outbox: fixed})
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
