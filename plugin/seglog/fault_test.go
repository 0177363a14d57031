package seglog

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/logdb"
)

// faultRun runs a history on a disk of which one call fails, until the history ends or a Commit fails.
type faultRun struct {
	t              *testing.T
	recorder       *recorder
	begun, durable int
	failedCommit   bool
	told           int
}

func (f *faultRun) options() Options {
	o := manual(f.recorder)
	o.OnFailure = func(err error) {
		f.told++
		if !errors.Is(err, logdb.ErrFailed) {
			f.t.Errorf("told of %v", err)
		}
	}
	return o
}

// work does some Commits. Once one has failed, all that follow must.
func (f *faultRun) work(s *Store, h *history, from, to int, now *time.Duration) {
	for i := from; i < to; i++ {
		f.begun = i + 1
		calls := 0
		commit(f.t, s, h.changes[i], func(err error) {
			calls++
			switch {
			case err != nil && !errors.Is(err, logdb.ErrFailed):
				f.t.Fatalf("commit %d: %v, want ErrFailed", i, err)
			case err == nil && f.failedCommit:
				f.t.Fatalf("commit %d is done after one had failed", i)
			case err == nil && h.changes[i].mustSync:
				f.durable = i + 1
			}
			f.failedCommit = f.failedCommit || err != nil
		})
		if i%5 == 4 {
			runIdle(s, now)
		}
		for range 3 {
			*now += 10 * time.Microsecond
			s.RunOnce(*now)
		}
		if calls != 1 {
			f.t.Fatalf("done of commit %d was called %d times", i, calls)
		}
		if f.failedCommit {
			f.begun = i + 1
		}
		if f.failedCommit && i+3 < to {
			to = i + 3 // a few more, to see that they fail too
		}
	}
}

// runWithFault runs a history in which one call fails, checks what has to hold meanwhile, restarts on what the system shows, works on,
// and then cuts the power. It returns false when there were not so many calls.
func runWithFault(t *testing.T, h *history, failAt int, failure error) bool {
	f := &faultRun{t: t}
	f.recorder = newRecorder(func() (int, int) { return f.begun, f.durable })
	f.recorder.failAt, f.recorder.failure = failAt, failure
	var now time.Duration
	half := len(h.changes) / 2
	where := func() string { return fmt.Sprintf("call %d (%s) fails with %v", failAt, f.recorder.failed, failure) }
	s, err := Open(f.options())
	if err == nil {
		f.work(s, h, 0, half, &now)
		if f.failedCommit && f.told != 1 {
			t.Fatalf("%s: told %d times", where(), f.told)
		}
		got := fingerprintReading(s, h)
		if got != nil && !slices.ContainsFunc(h.states[f.durable:f.begun+1], func(state []string) bool { return slices.Equal(state, got) }) {
			t.Fatalf("%s: what is read after %d commits, %d of them durable, is none of the states", where(), f.begun, f.durable)
		}
		if err := s.Close(); err != nil && !errors.Is(err, failure) {
			t.Fatalf("%s: close: %v", where(), err)
		}
	} else if !errors.Is(err, failure) {
		t.Fatalf("%s: open: %v", where(), err)
	}
	if f.recorder.failed == "" {
		return false
	}
	f.restart(h, where())
	return true
}

// fingerprintReading is a fingerprint, or nil if a read fails.
func fingerprintReading(s *Store, h *history) []string {
	for _, key := range h.keys {
		if _, err := s.Load(key); err != nil && !errors.Is(err, logdb.ErrNotFound) {
			return nil
		}
	}
	lines := make([]string, 0, len(h.keys))
	for _, key := range h.keys {
		line, err := fingerprintOne(s, key)
		if err != nil {
			return nil
		}
		lines = append(lines, line)
	}
	return lines
}

// restart opens the store on what the system shows after the process has ended: also what was never written, since it believes that it
// was (R9). What is found must last from then on.
func (f *faultRun) restart(h *history, where string) {
	t := f.t
	f.recorder.failAt = -1
	s, err := Open(manual(f.recorder))
	if err != nil {
		t.Fatalf("%s: open again: %v", where, err)
	}
	got := fingerprint(t, s, h.keys)
	found := -1
	for n := f.durable; n <= f.begun; n++ {
		if slices.Equal(h.states[n], got) {
			found = n
		}
	}
	if found < 0 {
		t.Fatalf("%s: after the restart there is no state between %d and %d", where, f.durable, f.begun)
	}
	f.failedCommit, f.durable, f.begun = false, found, found
	var now time.Duration
	f.work(s, h, found, min(found+4, len(h.changes)), &now)
	if f.failedCommit {
		t.Fatalf("%s: the restarted store fails", where)
	}
	for name, keep := range map[string]func(int) bool{"none": func(int) bool { return false }, "all": func(int) bool { return true }} {
		image := cutImage(t, f.recorder.events, keep, 0)
		examine(t, h, image, f.durable, f.begun, where+", then a power cut after the restart, of unsynced writes kept: "+name)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("%s: close: %v", where, err)
	}
}

// TestEveryCallFails lets each call of the file system fail once, for each kind of error. Whatever it is: no Commit is done behind a failed one, reads
// go on, a restart finds what was acknowledged, and what it finds is still there after a power cut.
func TestEveryCallFails(t *testing.T) {
	h := draw(t, newWorkload(5, 3, 4000), 50)
	for _, failure := range []error{syscall.EIO, syscall.ENOSPC} {
		calls := 0
		for failAt := 1; runWithFault(t, h, failAt, failure); failAt += share(1, 7) {
			calls = failAt
		}
		if calls < 100 {
			t.Errorf("%v: only %d calls", failure, calls)
		}
		t.Logf("%v: %d calls", failure, calls)
	}
}
