package seglog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
)

// TestEveryCallOfLanesFails lets each call of the file system fail once, whichever lane's it is. No Commit is done behind a failed one, a restart finds
// in each lane what was acknowledged, and what it finds is still there when the power is cut then.
func TestEveryCallOfLanesFails(t *testing.T) {
	h := draw(t, newWorkload(6, 8, 3000), 80)
	for _, failure := range []error{syscall.EIO, syscall.ENOSPC} {
		calls := 0
		for failAt := 1; failLaneCall(t, h, failAt, failure); failAt += share(11, 151) {
			calls = failAt
		}
		if calls < 250 {
			t.Errorf("%v: only %d calls", failure, calls)
		}
		t.Logf("%v: %d calls", failure, calls)
	}
}

// failLaneCall runs a history in which one call fails. It returns false when there were not so many calls.
func failLaneCall(t *testing.T, h *history, failAt int, failure error) bool {
	r := newLaneRun(t, h)
	r.recorder.failAt, r.recorder.failure = failAt, failure
	where := func() string { return fmt.Sprintf("call %d (%s) fails with %v", failAt, r.recorder.failed, failure) }
	l, err := r.open(r.recorder)
	if err == nil {
		r.work(l, 0, len(h.changes))
		if err := l.Close(); err != nil && !errors.Is(err, failure) {
			t.Fatalf("%s: close: %v", where(), err)
		}
	} else if !errors.Is(err, failure) {
		t.Fatalf("%s: open: %v", where(), err)
	}
	if r.recorder.failed == "" {
		return false
	}
	r.recorder.failAt = -1
	if l, err = r.open(r.recorder); err != nil {
		t.Fatalf("%s: open again: %v", where(), err)
	}
	r.check(l, r.durable, r.begun, where()+", restarted")
	found := make([]string, len(h.keys))
	for i, key := range h.keys {
		if found[i], err = fingerprintOne(l, key); err != nil {
			t.Fatalf("%s: %v: %v", where(), key, err)
		}
	}
	random := rand.New(rand.NewPCG(uint64(failAt), 14))
	for _, keep := range []bool{false, true} {
		image, err := r.open(cutLanes(t, r.recorder.events, random, func(int, int) bool { return keep }))
		if err != nil {
			t.Fatalf("%s, restarted, then a power cut: %v", where(), err)
		}
		for i, key := range h.keys {
			if got, err := fingerprintOne(image, key); err != nil || got != found[i] {
				t.Fatalf("%s, restarted, then a power cut with unsynced writes kept: %v: %v: %.300s, %v\nit was %.300s", where(), keep, key, got, err, found[i])
			}
		}
		if err := image.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatalf("%s: close: %v", where(), err)
	}
	return true
}
