package raft

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// TestTermListAgainstASlice compares every answer with that of a plain slice of terms.
func TestTermListAgainstASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list termList
		model := []uint64{0} // by index
		term := uint64(1)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			last := uint64(len(model) - 1)
			compacted := list.before.Index
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				if last > compacted {
					index := rapid.Uint64Range(compacted+1, last).Draw(t, "truncate")
					list.truncate(index)
					model = model[:index]
					term = max(term, model[index-1])
				}
			case 1:
				list.compact(rapid.Uint64Range(compacted, last).Draw(t, "compact"))
			default:
				term += rapid.Uint64Range(0, 2).Draw(t, "rise")
				count := rapid.IntRange(1, 4).Draw(t, "count")
				list.append(term, last+1)
				for range count {
					model = append(model, term)
				}
			}
			compareTerms(t, &list, model)
		}
	})
}

func compareTerms(t *rapid.T, list *termList, model []uint64) {
	compacted, last := list.before.Index, uint64(len(model)-1)
	for index := compacted; index <= last; index++ {
		if list.term(index) != model[index] {
			t.Fatalf("term of %d: %d, want %d", index, list.term(index), model[index])
		}
		for term := uint64(0); term <= model[last]+1; term++ {
			want := index
			for want > compacted && model[want] > term {
				want--
			}
			if got := list.lastAtMost(index, term); got.Index != want || got.Term != model[want] {
				t.Fatalf("last entry up to %d of a term up to %d: %v, want %d", index, term, got, want)
			}
		}
	}
	for first := compacted + 1; first <= last; first++ {
		for to := first; to <= last; to++ {
			term := model[first]
			want := first - 1
			for want < to && model[want+1] == term {
				want++
			}
			if got := list.agreeEnd(first, to, term); got != want {
				t.Fatalf("[%d,%d] agrees with term %d up to %d, want %d", first, to, term, got, want)
			}
		}
	}
}

func TestWindowTakesEachNumberOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w window
		seen := map[uint64]bool{}
		highest := uint64(0)
		for range 300 {
			number := rapid.Uint64Range(1, 600).Draw(t, "number")
			got := w.take(number)
			switch {
			case got && seen[number]:
				t.Fatalf("%d is taken twice", number)
			case !got && !seen[number] && number+128 > highest:
				t.Fatalf("%d is refused, the highest is %d", number, highest)
			}
			seen[number] = true
			highest = max(highest, number)
		}
	})
}

func TestDequeAgainstASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d deque[int]
		var model []int
		for i := range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch step := rapid.IntRange(0, 9).Draw(t, "step"); {
			case step < 5:
				d.push(i)
				model = append(model, i)
			case len(model) == 0:
			case step < 8:
				d.popFront()
				model = model[1:]
			case step == 8:
				d.popBack()
				model = model[:len(model)-1]
			default:
				at := rapid.IntRange(0, len(model)-1).Draw(t, "at")
				d.removeAt(at)
				model = append(append([]int(nil), model[:at]...), model[at+1:]...)
			}
			if d.len() != len(model) {
				t.Fatalf("length %d, want %d", d.len(), len(model))
			}
			for i, want := range model {
				if *d.at(i) != want {
					t.Fatalf("element %d is %d, want %d", i, *d.at(i), want)
				}
			}
		}
	})
}

func TestSweepForgetsWhatTheCacheEvicted(t *testing.T) {
	cache := &memoryCache{}
	l := raftLog{cache: cache}
	node := &testNode{id: 1}
	n := &network{}
	for index := uint64(1); index <= 3*sweepEvery; index++ {
		b := n.batch(node, index, "x")
		b.Stamp(1, index)
		l.append(b, 0)
		l.durable = index
		l.unpin(index, index+1, 1<<20)
		if index == sweepEvery+1 {
			clear(cache.chunks)
		}
	}
	if got := l.runs.front().first; got <= sweepEvery {
		t.Errorf("the oldest run begins at %d, its bytes are gone", got)
	}
	if _, ok := l.find(1); ok {
		t.Error("a forgotten run is found")
	}
	if i, ok := l.find(3 * sweepEvery); !ok || l.runs.at(i).first != 3*sweepEvery {
		t.Errorf("the last run is not found")
	}
}

func TestUnpinKeepsWhatIsNotWrittenOrNotHandedOver(t *testing.T) {
	l := raftLog{cache: fixedCache{}}
	n := &network{}
	for index := uint64(1); index <= 6; index++ {
		b := n.batch(&testNode{id: 1}, index, "x")
		b.Stamp(1, index)
		l.append(b, 0)
	}
	size := l.pinned / 6
	l.durable = 4
	for _, step := range []struct {
		handed, unsaved uint64
		budget, want    int
	}{
		{handed: 0, unsaved: 7, budget: 1 << 20, want: 6},  // durable, but the state machine needs them
		{handed: 1, unsaved: 7, budget: 1 << 20, want: 5},  // handed over
		{handed: 1, unsaved: 7, budget: 4 * size, want: 4}, // beyond the budget: read back later
		{handed: 4, unsaved: 4, budget: 1 << 20, want: 3},  // 4 is in no write yet
		{handed: 6, unsaved: 7, budget: 0, want: 2},        // 5 and 6 are not durable
	} {
		l.unpin(step.handed, step.unsaved, step.budget)
		if l.pins.len() != step.want || l.pinned != step.want*size {
			t.Errorf("%+v: %d pins of %d bytes", step, l.pins.len(), l.pinned)
		}
	}
}

// TestLogReadOfAnotherTermOrGenerationIsDropped: R7, an answer to a question that the log has outlived.
func TestLogReadOfAnotherTermOrGenerationIsDropped(t *testing.T) {
	for name, change := range map[string]func(*LogRead){
		"as asked":           func(*LogRead) {},
		"another term":       func(r *LogRead) { r.Term-- },
		"another generation": func(r *LogRead) { r.Generation++ },
		"another number":     func(r *LogRead) { r.Number++ },
	} {
		n := newNetwork(3, t.Errorf)
		n.advance(3e9)
		leader := n.leader()
		p := leader.core.peers[0]
		read := LogRead{
			Follower: p.id, Number: 9, From: 1, To: 2, MaxBytes: 1 << 20, Term: leader.core.term,
			Generation: leader.core.log.generation,
		}
		p.reading = 9
		batches := leader.disk.read(read)
		change(&read)
		leader.core.LogReadDone(n.now, read, batches, nil)
		if taken := len(p.batches) > 0; taken != (name == "as asked") {
			t.Errorf("%s: taken %t", name, taken)
		}
		if answered := p.reading == 0; answered != (name != "another number") {
			t.Errorf("%s: the follower waits %t", name, !answered)
		}
	}
}

// TestFailedLogReadIsTriedAgain, and damage in the log makes the replica abstain (R11).
func TestFailedLogReadIsTriedAgain(t *testing.T) {
	n := newNetwork(3, t.Errorf)
	n.advance(3e9)
	leader := n.leader()
	p := leader.core.peers[0]
	p.reading = 9
	read := LogRead{Follower: p.id, Number: 9, From: 1, To: 2, Term: leader.core.term}
	leader.core.LogReadDone(n.now, read, nil, errors.New("the disk is away"))
	if p.reading != 9 || leader.core.Deadline() > n.now+Instant(leader.core.options.HeartbeatInterval) {
		t.Errorf("the read is asked for again at once, or never")
	}
	leader.core.Tick(n.now + Instant(leader.core.options.HeartbeatInterval))
	if p.reading != 0 {
		t.Errorf("the read is not asked for again")
	}
	p.reading = 9
	leader.core.LogReadDone(n.now, read, nil, fmt.Errorf("entry 1: %w", raftpb.ErrBodyChecksum))
	if leader.core.Role() != RoleAbstaining {
		t.Errorf("a damaged log leads on as %s", leader.core.Role())
	}
}

func TestBoundsOfOneDrain(t *testing.T) {
	n := newNetwork(1, t.Errorf)
	n.nodes[0].options.MaxApplyBytes = 300
	n.nodes[0].options.MaxPinnedBytes = 700
	n.crash(n.nodes[0])
	n.start(n.nodes[0])
	n.advance(3e9)
	leader := n.nodes[0]
	for range 10 {
		n.propose(leader, "x")
	}
	var out Output
	leader.core.Drain(&out)
	leader.core.Saved(n.now, out.Saves[0].Number)
	drains, handed := 0, 0
	for leader.core.Dirty() {
		out.Reset()
		leader.core.Drain(&out)
		size := 0
		for _, b := range out.Apply {
			size += len(b)
		}
		if size > 300 {
			t.Errorf("%d bytes handed over at once", size)
		}
		handed += size
		drains++
	}
	if drains < 2 || handed < 600 || handed > 800 {
		t.Errorf("%d bytes handed over in %d drains before anything was applied", handed, drains)
	}
	leader.core.Applied(leader.core.handed)
	if !leader.core.Dirty() {
		t.Error("what was applied makes no room")
	}
}

func TestOutputResetKeepsNothing(t *testing.T) {
	tr := newTrio(t)
	if reason := tr.propose(tr.batches(1)[0]); reason != raftpb.ReasonNone {
		t.Fatal(reason)
	}
	var out Output
	tr.cores[0].Drain(&out)
	if len(out.Messages) != 2 || len(out.Saves) != 1 {
		t.Fatalf("%d messages, %d saves", len(out.Messages), len(out.Saves))
	}
	out.Reset()
	if out.Messages[:1][0].Batches != nil || out.Saves[:1][0].Batches != nil || out.batches[:1][0] != nil {
		t.Error("a reset output still refers to batches")
	}
}
