package rsmtest

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"github.com/flotilla-raft/flotilla/snapshot"
)

// A machine that has recovered from a snapshot is equal to the one that it was taken from, in what it answers, in what comes of the
// commands that follow, and in its own snapshots.
func testSnapshotRoundTrip(s *suite) {
	for _, n := range []int{1, 7, len(s.commands) / 2, len(s.commands) - 1} {
		source := s.open(s.place())
		source.applyRuns(s.commands[:n])
		first := s.open(s.place())
		first.mustRecover(source.snapshot())
		s.expect("after a recovery", first, n)
		second := s.open(s.place())
		second.mustRecover(first.snapshot())
		s.expect("after a recovery from a snapshot of a machine that had recovered", second, n)
		want := source.applyRuns(s.commands[n:])
		got := second.applyRuns(s.commands[n:])
		for i := range want {
			if want[i].Value != got[i].Value || !bytes.Equal(want[i].Data, got[i].Data) {
				s.Fatalf("the result of command %d (%q) is %v, and %v after a recovery", n+i, s.commands[n+i], want[i], got[i])
			}
		}
		s.expect("after a recovery and what follows", second, len(s.commands))
	}
}

// Recover replaces the state: a replica that is behind has one already, and nothing of it may show.
func testRecoverReplaces(s *suite) {
	source := s.open(s.place())
	source.applyRuns(s.commands[:5])
	file := source.snapshot()
	m := s.open(s.place())
	m.applyRuns(s.commands)
	m.mustRecover(file)
	s.expect("after a recovery to an earlier state", m, 5)
	m.mustRecover(file)
	s.expect("after the same recovery once more", m, 5)
}

// Lookups go on while a snapshot is saved. What the race detector finds here is a fault of the machine.
func testLookupsWhileSaving(s *suite) {
	m := s.open(s.place())
	m.applyRuns(s.commands)
	image := m.image()
	var err error
	together(s, m, s.answers(m), func() { _, err = save(image) })
	if err != nil {
		s.Fatalf("Save: %v", err)
	}
}

// A view is the state of its moment, whatever is applied before it is saved. Otherwise a snapshot holds entries above its index, which are applied to
// it a second time. There may be several views, and one may be let go of unsaved.
func testViewsStay(s *suite) {
	m := s.open(s.place())
	third := len(s.commands) / 3
	m.applyRuns(s.commands[:third])
	first := m.image()
	m.applyRuns(s.commands[third : 2*third])
	second, unused := m.image(), m.image()
	if err := unused.Close(); err != nil {
		s.Fatalf("close of a view that was not saved: %v", err)
	}
	m.applyRuns(s.commands[2*third:])
	earlier, earlierErr := save(first)
	later, laterErr := save(second)
	if err := errors.Join(earlierErr, laterErr); err != nil {
		s.Fatalf("Save: %v", err)
	}
	recovered := s.open(s.place())
	recovered.mustRecover(earlier)
	s.expect("a view that was saved after other Updates", recovered, third)
	recovered.mustRecover(later)
	s.expect("the second view", recovered, 2*third)
}

// A view is saved beside Updates. What the race detector finds here is a fault of the machine.
func testSavingWhileApplying(s *suite) {
	m := s.open(s.place())
	half := len(s.commands) / 2
	m.applyRuns(s.commands[:half])
	image := m.image()
	var file []byte
	var err error
	saved := make(chan struct{})
	together(s, m, nil, func() {
		go func() {
			defer close(saved)
			file, err = save(image)
		}()
		m.applyEach(s.commands[half:])
	})
	<-saved
	if err != nil {
		s.Fatalf("Save: %v", err)
	}
	s.expect("after Updates beside a Save", m, len(s.commands))
	recovered := s.open(s.place())
	recovered.mustRecover(file)
	s.expect("a view that was saved beside Updates", recovered, half)
}

// A snapshot that ends too early is not taken for a smaller state, wherever it ends.
func testShortSnapshots(s *suite) {
	source := s.open(s.place())
	source.applyRuns(s.commands)
	file := source.snapshot()
	sections := s.take(file)
	for i := range sections {
		if sections[i].kind == snapshot.KindSessions {
			continue // the engine's
		}
		whole := sections[i].data
		step := max(1, len(whole)/40)
		for n := 0; n < len(whole); n += step {
			sections[i].data = whole[:n]
			s.refused(file, sections, "%s cut from %d to %d bytes", sections[i].kind, len(whole), n)
		}
		sections[i].data = whole
		if sections[i].kind == snapshot.KindFile {
			s.refused(file, slices.Delete(slices.Clone(sections), i, i+1), "file %q left out", sections[i].name)
		}
	}
}

// A snapshot with more in it than the machine reads is not one that it wrote. The engine finds what is left unread, unless the machine hides it.
func testLongSnapshots(s *suite) {
	source := s.open(s.place())
	source.applyRuns(s.commands)
	file := source.snapshot()
	sections := s.take(file)
	for i := range sections {
		if sections[i].kind == snapshot.KindSessions {
			continue
		}
		whole := sections[i].data
		for _, more := range [][]byte{{0}, make([]byte, 100), whole} {
			sections[i].data = slices.Concat(whole, more)
			if len(more) > 0 {
				s.refused(file, sections, "%s with %d bytes more", sections[i].kind, len(more))
			}
		}
		sections[i].data = whole
	}
	s.refused(file, append(slices.Clone(sections), section{snapshot.KindFile, "one more", []byte("content")}), "one more file")
}

func (s *suite) refused(like []byte, sections []section, format string, arguments ...any) {
	s.Helper()
	m := s.open(s.place())
	if err := m.recover(bytes.NewReader(s.put(like, sections))); err == nil {
		s.Fatalf("a snapshot is taken that has its "+format, arguments...)
	}
	m.close()
}

var errBroken = errors.New("the disk failed to read")

// An error of reading is not taken for the end, and is told.
func testSnapshotsThatFail(s *suite) {
	source := s.open(s.place())
	source.applyRuns(s.commands)
	file := source.snapshot()
	for n := range 10 {
		m := s.open(s.place())
		err := m.recover(io.MultiReader(bytes.NewReader(file[:len(file)*n/10]), brokenReader{}))
		if err == nil {
			s.Fatalf("a recovery goes well whose snapshot cannot be read from byte %d of %d on", len(file)*n/10, len(file))
		}
		if !errors.Is(err, errBroken) {
			s.Fatalf("a recovery whose snapshot cannot be read says %v, want what the reader said", err)
		}
		m.close()
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errBroken }
