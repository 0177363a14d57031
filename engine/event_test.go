package engine

import "testing"

// Counters do not depend on a listener that keeps up.
func TestEventsThatAreDroppedAreCountedAllTheSame(t *testing.T) {
	q := newEventQueue(func(Event) {}, 2)
	for range 5 {
		q.publish(Event{Kind: EventSecondLeader})
	}
	q.publish(Event{Kind: EventStorageRecovered}) // the last kind there is
	if got := q.count(EventSecondLeader); got != 5 || q.Dropped() != 4 || q.count(EventStorageRecovered) != 1 {
		t.Errorf("counted %d, dropped %d", got, q.Dropped())
	}
}
