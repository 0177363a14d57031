package rsmtest

import (
	"bytes"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

const client = 7

// call applies commands as calls of a client session, numbered from series on.
func (m *replica) call(series uint64, commands [][]byte) []rsm.Result {
	m.s.Helper()
	var builder raftpb.SessionBuilder
	builder.Reset(nil)
	for i, command := range commands {
		builder.Add(raftpb.SessionFields{Client: client, Series: series + uint64(i)}, command)
	}
	batch := builder.Seal(1, raftpb.KindCommands, raftpb.Origin{Replica: 1, Session: 1, Sequence: 1}, 0)
	batch.Stamp(term, m.Applied()+1)
	return m.run(batch)
}

func (m *replica) register() {
	m.s.Helper()
	m.call(rsm.SeriesOpen, [][]byte{rsm.RegisterCommand(16)})
}

// repeat calls again what was called, which changes nothing and gives the first results.
func (m *replica) repeat(what string, want []rsm.Result, n int) {
	m.s.Helper()
	before := m.s.answers(m)
	for i, got := range m.call(1, m.s.commands[:n]) {
		if got.Value != want[i].Value || !bytes.Equal(got.Data, want[i].Data) {
			m.s.Fatalf("%s: a call that is repeated has the result %v, it had %v", what, got, want[i])
		}
	}
	m.s.same(what+": calls that are repeated", m.s.answers(m), before)
}

const calls = 24

// Client sessions are a part of snapshots, and reach the machine that keeps its own with the recovery.
func testSessionsInSnapshots(s *suite) {
	source := s.open(s.place())
	source.register()
	want := source.call(1, s.commands[:calls])
	source.repeat("where they were made", want, calls)
	place := s.place()
	m := s.open(place)
	m.applyRuns(s.commands) // which is replaced
	m.mustRecover(source.snapshot())
	m.repeat("after a recovery", want, calls)
	if m.Kind() != rsm.KindOnDisk {
		return
	}
	m = s.restart(m, place)
	m.repeat("after a recovery and a restart", want, calls)
}

// restart syncs, crashes and opens a machine that has everything then.
func (s *suite) restart(m *replica, place Place) *replica {
	s.Helper()
	m.sync()
	at := m.Applied()
	next := s.open(s.crash(m, place, 0))
	if next.Opened() < at {
		// The last entries were none that a machine without sessions is shown.
		s.Fatalf("the machine comes up with index %d, it was synced at %d", next.Opened(), at)
	}
	_, _, config := next.AppliedAt()
	if err := next.StartAt(next.Opened(), term, config); err != nil {
		s.Fatalf("start: %v", err)
	}
	return next
}

// A session delta is there after a crash if the data are, and only then. Otherwise a client that repeats a call after a crash runs it twice, or is told
// that it was done when it was not.
func testSessionsAfterCrash(s *suite) {
	for kept := 0; kept <= 100; kept += 25 {
		place := s.place()
		m := s.open(place)
		m.register()
		want := m.call(1, s.commands[:calls/2])
		m.sync()
		for i := calls / 2; i < calls; i++ {
			want = append(want, m.call(uint64(i+1), s.commands[i:i+1])...)
		}
		all := s.answers(m)
		next := s.open(s.crash(m, place, kept))
		opened := next.Opened()
		if opened < calls/2+1 || opened > calls+1 {
			s.Fatalf("the machine comes up with index %d, it was synced at %d and shown %d", opened, calls/2+1, calls+1)
		}
		if err := next.StartAt(opened, term, raftpb.ConfigRecord{}); err != nil {
			s.Fatalf("start: %v", err)
		}
		// The clients repeat every call: those that were lost are made now, with the same results, for the same came before them.
		for i, got := range next.call(1, s.commands[:calls]) {
			if got.Value != want[i].Value || !bytes.Equal(got.Data, want[i].Data) {
				s.Fatalf("call %d has the result %v after a crash, it had %v", i+1, got, want[i])
			}
		}
		s.same("calls repeated after a crash", s.answers(next), all)
		next.close()
	}
}
