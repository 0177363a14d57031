package rsmtest

import (
	"bytes"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/rsm"
)

// Equal entries give equal states and results, however many come in one Update. Of a machine that looks at a clock, at the order of a map, or at how many
// entries it is shown at once, replicas go apart, for each of them groups entries as it comes.
func testDeterministic(s *suite) {
	one, other := s.open(s.place()), s.open(s.place())
	want := one.applyEach(s.commands)
	got := other.applyRuns(s.commands)
	for i := range want {
		if want[i].Value != got[i].Value || !bytes.Equal(want[i].Data, got[i].Data) {
			s.Fatalf("the result of command %d (%q) is %v in an Update of its own and %v beside others", i, s.commands[i], want[i], got[i])
		}
	}
	s.same("after other Updates", s.answers(other), s.answers(one))
}

// A command is read-only: its bytes are those that are in the log's cache, and on their way to other hosts.
func testCommandsAreReadOnly(s *suite) {
	m := s.open(s.place())
	batch := plain(1, s.commands)
	before := bytes.Clone(batch)
	m.run(batch)
	if !bytes.Equal(batch, before) {
		s.Fatalf("an Update changes the commands that it is shown")
	}
}

// A Lookup changes nothing: lookups are not in the log, and every replica is asked others.
func testLookupsChangeNothing(s *suite) {
	asked, alone := s.open(s.place()), s.open(s.place())
	for i := range s.commands {
		before := sumOf(asked)
		for range 3 {
			s.answers(asked)
		}
		if after := sumOf(asked); after != before {
			s.Fatalf("lookups change the checksum from %x to %x", before, after)
		}
		a, b := asked.apply(s.commands[i:i+1]), alone.apply(s.commands[i:i+1])
		if a[0].Value != b[0].Value || !bytes.Equal(a[0].Data, b[0].Data) {
			s.Fatalf("the result of command %d (%q) is %v after lookups and %v without", i, s.commands[i], a, b)
		}
	}
	s.same("after lookups", s.answers(asked), s.answers(alone))
	s.same("a second time", s.answers(asked), s.answers(alone))
}

// sumOf returns the checksum of a machine that has one, or 0.
func sumOf(m *replica) uint64 {
	if _, ok := m.machine.(rsm.Checksummer); !ok {
		return 0
	}
	return m.sum()
}

// What a Lookup has answered is the caller's, who reads it while Updates go on.
func testAnswersStay(s *suite) {
	m := s.open(s.place())
	held := make(map[int][]any)
	const step = 6
	for n := step; n < len(s.commands); n += step {
		m.applyRuns(s.commands[n-step : n])
		held[n] = s.answers(m)
	}
	for n := step; n < len(s.commands); n += step {
		s.same("an answer that was held while Updates went on", held[n], s.reference(n))
	}
}

// Lookups run beside each other. What the race detector finds here is a fault of the machine.
func testLookupsTogether(s *suite) {
	m := s.open(s.place())
	m.applyRuns(s.commands)
	together(s, m, s.answers(m), func() {})
}

// together looks up on many goroutines while something is done on another, until that is over, and compares what they are answered.
func together(s *suite, m *replica, want []any, do func()) {
	s.Helper()
	var group sync.WaitGroup
	var mu sync.Mutex
	var wrong []string
	note := func(text string) {
		mu.Lock()
		wrong = append(wrong, text)
		mu.Unlock()
	}
	var over atomic.Bool
	for range 8 {
		group.Go(func() {
			for round := 0; round < 25 || !over.Load(); round++ {
				for i, query := range s.Queries {
					answer, err := m.Lookup(query)
					if err != nil {
						note(err.Error())
						return
					}
					if want != nil && !reflect.DeepEqual(answer, want[i]) {
						note(dump(answer))
						return
					}
					runtime.Gosched()
				}
			}
		})
	}
	group.Go(func() {
		defer over.Store(true) // also if it ends the test
		do()
	})
	group.Wait()
	if len(wrong) > 0 {
		s.Fatalf("%d of 8 goroutines that look up together are answered wrongly, the first with %.1000s", len(wrong), wrong[0])
	}
}

// The checksum depends on the state alone, and on all of it: on machines that were shown the same it is the same, whether they were shown it in one
// Update, in many, or came by it in a snapshot. Two states that answer differently have different ones.
func testChecksum(s *suite) {
	one, other := s.open(s.place()), s.open(s.place())
	differed := false
	for i := range s.commands {
		before, answers := one.sum(), s.answers(one)
		one.apply(s.commands[i : i+1])
		changed := !reflect.DeepEqual(answers, s.answers(one))
		if changed != (one.sum() != before) {
			s.Fatalf("command %d (%q): the state was changed is %v, the checksum was %x and is %x", i, s.commands[i], changed, before, one.sum())
		}
		differed = differed || changed
	}
	if !differed {
		s.Fatalf("no command changes anything")
	}
	other.applyRuns(s.commands)
	expect := func(what string, m *replica) {
		s.Helper()
		if m.sum() != one.sum() {
			s.Fatalf("the checksum is %x, and %x %s", one.sum(), m.sum(), what)
		}
	}
	expect("after other Updates", other)
	if one.Kind() == rsm.KindReplayed {
		return
	}
	recovered := s.open(s.place())
	recovered.mustRecover(one.snapshot())
	expect("after a recovery", recovered)
}
