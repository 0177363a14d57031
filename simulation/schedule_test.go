package simulation

import "testing"

// Events come in the order of their instants, and those of one instant in the order in which they were scheduled.
func TestAgendaIsOrdered(t *testing.T) {
	r := random{state: 1}
	var a agenda
	var last event
	pending := 0
	for step := range int32(5000) {
		if pending > 0 && r.chance(0.45) {
			e := a.pop()
			pending--
			if e.at < last.at {
				t.Fatalf("an event of %d comes after one of %d", e.at, last.at)
			}
			if e.at == last.at && e.index < last.index {
				t.Fatalf("event %d comes after %d, which was scheduled later", e.index, last.index)
			}
			last = e
			continue
		}
		a.push(event{at: last.at + r.between(0, 5), index: step})
		pending++
	}
	for ; pending > 0; pending-- {
		e := a.pop()
		if e.at < last.at {
			t.Fatalf("an event of %d comes after one of %d", e.at, last.at)
		}
		last = e
	}
	if at, ok := a.next(); ok {
		t.Errorf("an event of %d is left", at)
	}
}
