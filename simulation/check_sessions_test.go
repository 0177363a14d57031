package simulation

import (
	"testing"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// What becomes of each entry, by the rules that package rsm states.
func TestSessionTable(t *testing.T) {
	const open, end = 0, 1<<64 - 1
	var counters Counters
	table := newSessionTable(true)
	for i, step := range []struct {
		client, series, responded uint64
		fate                      sessionFate
		shown                     bool
	}{
		{1, 1, 0, fateExpired, false}, // it is not there yet
		{1, open, 0, fateDone, false},
		{1, 1, 0, fateDone, true},
		{1, 1, 0, fateDone, false}, // it has a result
		{1, 3, 0, fateDone, true},  // in any order
		{1, 2, 1, fateDone, true},  // acknowledges the first
		{1, 1, 0, fateForgotten, false},
		{1, 3, 1, fateDone, false},
		{2, open, 0, fateDone, false},
		{1, 1, 0, fateForgotten, false}, // uses the session all the same
		{3, open, 0, fateDone, false},   // beyond two: 2 goes
		{2, 1, 0, fateExpired, false},
		{2, end, 0, fateDone, false},
		{1, 3, 3, fateForgotten, false}, // acknowledged by the same entry
		{1, 4, 3, fateDone, true},
		{1, end, 4, fateDone, false},
		{1, 5, 4, fateExpired, false},
		{3, 1, 0, fateDone, true},
	} {
		fate, shown := table.take(&sessionEntry{client: step.client, series: step.series, responded: step.responded, capacity: 2}, &counters)
		if fate != step.fate || shown != step.shown {
			t.Errorf("step %d: %s, shown %v", i, fateNames[fate], shown)
		}
	}
	if counters[countSessionEvicted] != 1 || counters[countSessionRepeated] != 2 {
		t.Errorf("%v", &counters)
	}
	without := newSessionTable(false)
	if fate, shown := without.take(&sessionEntry{client: 1, capacity: 2}, &counters); fate != fateAbsent || shown {
		t.Error("a state machine without sessions has one")
	}
}

// Entries that differ in nothing but their session are different entries.
func TestSessionsAreHashed(t *testing.T) {
	seen := map[uint64]bool{}
	for _, fields := range []raftpb.SessionFields{{}, {Client: 1}, {Client: 1, Series: 1}, {Client: 1, Series: 1, Responded: 1}, {Client: 1, Responded: 1}, {Client: 2, Series: 1}} {
		seen[hashEntry(1, []byte("x"), fields)] = true
	}
	if len(seen) != 6 || !seen[hashBytes(1, []byte("x"))] {
		t.Errorf("%d hashes", len(seen))
	}
}
