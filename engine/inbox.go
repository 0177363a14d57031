package engine

import (
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// inbox is everything that can reach a step worker. Others append to it under StepWorker.mu and then set the signal; RunOnce
// swaps it out whole, so each input costs one append, and each RunOnce one lock.
type inbox struct {
	messages []received
	saved    []savedEvent
	requests []*Replica
	controls []func(*StepWorker)
	reads    []logReadResult
	links    []linkEvent
}

// received is a message together with the address of the host that it came from.
type received struct {
	message raftpb.Message
	from    string
}

// linkEvent says that a host can or cannot be reached.
type linkEvent struct {
	address string
	up      bool
	err     error
}

type logReadResult struct {
	replica *Replica
	request raft.LogRead
	batches []raftpb.Batch
	err     error
}

// reset empties an inbox that was worked off, keeps its memory unless a burst made it large, and pins nothing.
func (b *inbox) reset() {
	b.messages = recycled(b.messages)
	b.saved = recycled(b.saved)
	b.requests = recycled(b.requests)
	b.controls = recycled(b.controls)
	b.reads = recycled(b.reads)
	b.links = recycled(b.links)
}

const keptCapacity = 1 << 14

func recycled[T any](s []T) []T {
	if cap(s) > keptCapacity {
		return nil
	}
	clear(s)
	return s[:0]
}

// requests notes that callers wait in a replica's queue. Safe for concurrent use.
func (w *StepWorker) requests(r *Replica) {
	w.mu.Lock()
	w.inbox.requests = append(w.inbox.requests, r)
	w.mu.Unlock()
	w.sig.set()
}

// control runs a function on the step worker. Safe for concurrent use. After the engine has stopped it is never run: see Engine.Stop.
func (w *StepWorker) control(f func(*StepWorker)) {
	w.mu.Lock()
	w.inbox.controls = append(w.inbox.controls, f)
	w.mu.Unlock()
	w.sig.set()
}

// receive takes the messages of one frame that belong to this worker; all of them if only is false. What does not fit is
// dropped and counted: the protocol repeats itself.
func (w *StepWorker) receive(messages []raftpb.Message, from string, only bool) {
	limit := w.engine.options.MaxInboxMessages
	added := false
	w.mu.Lock()
	for i := range messages {
		if only && w.engine.workerOf(messages[i].ShardID) != w {
			continue
		}
		if len(w.inbox.messages) >= limit {
			w.inboxDropped++
			continue
		}
		w.inbox.messages = append(w.inbox.messages, received{messages[i], from})
		added = true
	}
	w.mu.Unlock()
	if added {
		w.sig.set()
	}
}

// written takes the saved events of a commit; a failed one only wakes the worker, which finds the storage failed.
func (w *StepWorker) written(saved []savedEvent, err error) {
	w.mu.Lock()
	if err == nil {
		w.inbox.saved = append(w.inbox.saved, saved...)
	}
	clear(saved)
	w.freeSaved = append(w.freeSaved, saved[:0])
	w.mu.Unlock()
	w.sig.set()
}

func (w *StepWorker) link(event linkEvent) {
	w.mu.Lock()
	w.inbox.links = append(w.inbox.links, event)
	w.mu.Unlock()
	w.sig.set()
}

func (w *StepWorker) logRead(result logReadResult) {
	w.mu.Lock()
	w.inbox.reads = append(w.inbox.reads, result)
	w.mu.Unlock()
	w.sig.set()
}
