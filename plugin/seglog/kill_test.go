package seglog

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestEveryCutAfterAKill kills a run after some of its writes and changes of names, so that the next process finds all of it in the page cache,
// synced or not, and cuts the power after every event of the opening that follows. What was acknowledged before the kill has to be there.
//
// It found that files of emptied segments were given back on the word of a group that stood in the page cache alone, before what had been moved
// out of them was durable.
func TestEveryCutAfterAKill(t *testing.T) {
	points, given := 0, 0
	for seed := range uint64(share(3, 1)) {
		h := draw(t, newWorkload(seed+40, 3, 3000), 60)
		events := recordRun(t, h, 1)
		random := rand.New(rand.NewPCG(seed, 11))
		for n := 2; n <= len(events); n++ {
			if events[n-1].what == "sync" || events[n-1].durable == 0 || random.IntN(60) != 0 {
				continue // a kill after a sync is a kill before the next event
			}
			opening := recordKilled(t, events[:n])
			given += countGone(opening[n:])
			points += enumerateFrom(t, h, opening, seed, 1, events[n-1].durable, events[n-1].begun)
		}
	}
	t.Logf("%d points, %d files given back", points, given)
	if points < share(500, 150) || given < share(5, 1) {
		t.Errorf("only %d points, %d files given back", points, given)
	}
}

// countGone counts the segments that lose their names.
func countGone(events []event) (gone int) {
	for _, e := range events {
		if _, suffix, ok := parseName(vfs.Default.PathBase(e.from)); ok && suffix == segmentSuffix {
			gone++
		}
	}
	return gone
}

// recordKilled records what opening does to the files of a process that was killed after the events. Nothing of them becomes durable by the kill.
func recordKilled(t *testing.T, events []event) []event {
	t.Helper()
	image := cutImage(t, events, func(int) bool { return true }, 1<<30)
	r := &recorder{FS: image, files: map[string]int{}, note: func() (int, int) { return 0, 0 }, events: slices.Clone(events)}
	for i, e := range r.events {
		changeName(r.files, e)
		r.next = max(r.next, e.file)
		r.events[i].begun = -1 // not to be cut within
	}
	s, err := Open(manual(r))
	if err != nil {
		t.Fatal(fmt.Errorf("after a kill: %w", err))
	}
	var now time.Duration
	runIdle(s, &now)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return r.events
}
