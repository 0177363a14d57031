package engine

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// emptyGroup is a group of which only the size is asked.
type emptyGroup struct{ logdb.Group }

func (emptyGroup) Bytes() int { return 0 }

// Whoever hands something to a worker wakes it (R29). What the simulator does not miss, because a timer or a neighbour soon wakes the worker all
// the same, is here: a request, a broken link, a retry, the place of a stream's bytes, a promise to be recorded.
func TestEveryHandOverWakesItsWorker(t *testing.T) {
	e := &Engine{options: Options{MaxInboxMessages: 1, Logger: slog.New(slog.DiscardHandler)}, events: newEventQueue(nil, 1)}
	r := &Replica{}
	step := newStepWorker(e, "step")
	e.workers = []*StepWorker{step}
	e.writer = newLogWriter(e)
	e.sender = newSender(e)
	e.receivers = []*receiver{{engine: e, sig: newSignal()}}
	e.keeper = &snapshotKeeper{engine: e, sig: newSignal()}
	e.watch = &jobWatch{engine: e, sig: newSignal()}
	e.promises = &promiseKeeper{engine: e, sig: newSignal()}
	pull := []raftpb.Message{{Type: raftpb.MessageSnapshotPull}}
	chunk := []raftpb.Message{{Type: raftpb.MessageSnapshotChunk}}
	cases := []struct {
		name   string
		worker *signal
		do     func()
	}{
		{"a caller's request", &step.sig, func() { step.requests(r) }},
		{"what other workers want done", &step.sig, func() { step.control(func(*StepWorker) {}) }},
		{"a message", &step.sig, func() { step.receive(pull, "", false) }},
		{"a write that ended", &step.sig, func() { step.written(nil, nil) }},
		{"a write that failed", &step.sig, func() { step.written(nil, errors.New("eio")) }},
		{"a link", &step.sig, func() { step.link(linkEvent{}) }},
		{"what was read of the log", &step.sig, func() { step.logRead(logReadResult{}) }},
		{"a full disk", &step.sig, func() { e.SetDiskFull(true) }},
		{"a log store that failed", &step.sig, func() { e.storageFailed(errors.New("eio")) }},
		{"a write", &e.writer.sig, func() { e.writer.submit(writeItem{group: emptyGroup{}}) }},
		{"a pull", &e.sender.sig, func() { e.sender.receive(pull, "") }},
		{"where a stream's bytes come from", &e.sender.sig, func() { e.sender.open(openedStream{}) }},
		{"the end of a replica's streams", &e.sender.sig, func() { e.sender.end(r) }},
		{"an order to fetch", &e.receivers[0].sig, func() { e.receivers[0].order(receiveOrder{}) }},
		{"a chunk", &e.receivers[0].sig, func() { e.receivers[0].receive(chunk, "") }},
		{"a snapshot that is written", &e.keeper.sig, func() { e.keeper.publish(&snapshotJob{}) }},
		{"snapshots to be removed", &e.keeper.sig, func() { e.keeper.submit(snapshotRemoval{}) }},
		{"a snapshot to be tried again", &e.watch.sig, func() { e.watch.later(r, 1) }},
		{"a Sync that will be due", &e.watch.sig, func() { e.watch.syncLater(r, 1) }},
		{"a promise to be recorded", &e.promises.sig, func() { e.promises.submit(make([]PromiseRecord, 1)) }},
		{"a promise to be forgotten", &e.promises.sig, func() { e.promises.forget(logdb.ReplicaKey{}, nil) }},
		{"an event", &e.events.sig, func() { e.events.publish(Event{}) }},
	}
	for _, c := range cases {
		e.events.waiting = nil
		c.worker.clear()
		c.do()
		if !c.worker.ready() {
			t.Errorf("%s does not wake its worker", c.name)
		}
	}
}
