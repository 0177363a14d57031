package engine

import (
	"errors"
	"testing"
)

// A replica that is fenced in the very turn in which it was healed never begins anew. Stopping it once waited for that.
func TestAReplicaFencedBeforeItsRenewalCanBeStopped(t *testing.T) {
	e := newBareEngine(t)
	w := e.workers[0]
	stopped := errors.New("open")
	r := &Replica{engine: e, worker: w, shardID: 1, replicaID: 1}
	w.renew(r, 5)
	w.fence(r, "assertion", nil)
	w.beginRenewals()
	w.all, w.replicas[1] = append(w.all, r), r
	w.depart(r, func(err error) { stopped = err })
	if !r.stopped || r.renewal != nil {
		t.Fatalf("the stop waits: %v", stopped)
	}
}
