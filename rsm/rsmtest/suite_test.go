package rsmtest

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/rsm/kv"
	"github.com/flotilla-raft/flotilla/rsm/pebblekv"
)

func inMemory(wrap func(*kv.Machine) rsm.StateMachine) func(Place) (rsm.StateMachine, error) {
	return func(Place) (rsm.StateMachine, error) { return wrap(kv.New()), nil }
}

func stored(wrap func(*pebblekv.Machine, Place) rsm.StateMachine) func(Place) (rsm.StateMachine, error) {
	return func(place Place) (rsm.StateMachine, error) {
		m, err := pebblekv.New(pebblekv.Options{Dir: place.Dir, FS: place.FS, MemtableBytes: pebblekv.MinMemtableBytes})
		if err != nil {
			return nil, err
		}
		return wrap(m, place), nil
	}
}

type machine = rsm.StateMachine

// doubles has for each case of the suite state machines that it must reject.
var doubles = []struct {
	name string
	make func(Place) (rsm.StateMachine, error)
}{
	{"Deterministic", inMemory(func(m *kv.Machine) machine { return groupCounting{m} })},
	{"CommandsAreReadOnly", inMemory(func(m *kv.Machine) machine { return commandChanging{m} })},
	{"LookupsChangeNothing", inMemory(func(m *kv.Machine) machine { return lookupCounting{m} })},
	{"LookupsChangeNothing", inMemory(func(m *kv.Machine) machine { return lookupTouching{m} })},
	{"AnswersStay", inMemory(func(m *kv.Machine) machine { return &answerReusing{Machine: m} })},
	{"LookupsTogether", inMemory(func(m *kv.Machine) machine { return &lonely{Machine: m} })},
	{"SnapshotRoundTrip", inMemory(func(m *kv.Machine) machine { return &uncounted{Machine: m} })},
	{"RecoverReplaces", inMemory(func(m *kv.Machine) machine { return merging{m} })},
	{"LookupsWhileSaving", inMemory(func(m *kv.Machine) machine { return &shutWhileSaving{Machine: m, met: make(chan struct{})} })},
	{"ViewsStay", inMemory(func(m *kv.Machine) machine { return &lateView{Machine: m, waiting: map[uint64][]chan struct{}{}} })},
	{"SavingWhileApplying", inMemory(func(m *kv.Machine) machine { return &lateView{Machine: m, waiting: map[uint64][]chan struct{}{}} })},
	{"ShortSnapshots", inMemory(func(m *kv.Machine) machine { return lenient{m} })},
	{"LongSnapshots", inMemory(func(m *kv.Machine) machine { return draining{m} })},
	{"SnapshotsThatFail", inMemory(func(m *kv.Machine) machine { return wordy{m} })},
	{"SessionsInSnapshots", stored(func(m *pebblekv.Machine, _ Place) machine { return forgetsSessions{m} })},
	{"Reopen", stored(func(m *pebblekv.Machine, _ Place) machine { return miscounts{m, 1} })},
	{"Reopen", stored(func(m *pebblekv.Machine, _ Place) machine { return miscounts{m, ^uint64(0)} })},
	{"CrashAnywhere", stored(func(m *pebblekv.Machine, _ Place) machine { return neverSyncs{m} })},
	{"CrashAnywhere", stored(func(m *pebblekv.Machine, _ Place) machine { return miscounts{m, ^uint64(0)} })},
	{"CrashWhileRecovering", stored(func(m *pebblekv.Machine, p Place) machine { return marksRecovery{m, p.FS} })},
	{"SessionsAfterCrash", stored(func(m *pebblekv.Machine, _ Place) machine { return forgetsSessions{m} })},
	{"SessionsAfterCrash", stored(func(m *pebblekv.Machine, _ Place) machine { return dropsDeltas{m} })},
	{"Checksum", inMemory(func(m *kv.Machine) machine { return constantSum{m} })},
	{"Checksum", inMemory(func(m *kv.Machine) machine { return &historySum{Machine: m} })},
}

// hearing is a test that may fail: what it says is written down.
type hearing struct {
	testing.TB
	failures []string
}

func (h *hearing) Errorf(format string, arguments ...any) {
	h.failures = append(h.failures, fmt.Sprintf(format, arguments...))
}

func (h *hearing) Fatalf(format string, arguments ...any) {
	h.Errorf(format, arguments...)
	runtime.Goexit()
}

// Every case rejects a machine that breaks its clause, and there is no case without such a machine.
func TestDoublesAreRejected(t *testing.T) {
	tried := map[string]bool{}
	for i, double := range doubles {
		tried[double.name] = true
		t.Run(fmt.Sprint(double.name, " ", i), func(t *testing.T) {
			for _, c := range cases {
				if c.name != double.name {
					continue
				}
				h := &hearing{TB: t}
				done := make(chan struct{})
				go func() {
					defer close(done)
					s := newSuite(h, Subject{New: double.make, Command: KeyValueCommand, Queries: KeyValueQueries()})
					if !c.applies(s.survey()) {
						t.Error("the case does not apply to the double")
					}
					c.run(s)
				}()
				<-done
				if len(h.failures) == 0 {
					t.Error("the double passes")
				}
				for _, failure := range h.failures {
					t.Logf("%.300s", failure)
				}
			}
		})
	}
	for _, c := range cases {
		if !tried[c.name] {
			t.Errorf("case %s has no double", c.name)
		}
	}
}

// The crash cases look at many moments: without them they would prove little.
func TestCrashesAreMany(t *testing.T) {
	s := newSuite(t, Subject{
		New:     stored(func(m *pebblekv.Machine, _ Place) machine { return m }),
		Command: KeyValueCommand, Queries: KeyValueQueries(),
	})
	place := s.place()
	files := watch(s, place.FS, 1)
	m := s.open(Place{files, place.Dir})
	m.applyRuns(s.commands)
	m.sync()
	m.close()
	if len(files.points) < 15 {
		t.Errorf("%d moments at which power could be lost", len(files.points))
	}
}
