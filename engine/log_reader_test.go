package engine

import (
	"testing"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// hookedLog calls a function within every read.
type hookedLog struct {
	logdb.LogDB
	read func(from uint64)
}

func (l *hookedLog) Read(_ logdb.ReplicaKey, from, _ uint64, _ int, into []raftpb.Batch) ([]raftpb.Batch, error) {
	l.read(from)
	return into, nil
}

// Requests were handed to the readers in turn: every other one waited for a reader that was inside a store that did not answer, although the
// other had nothing to do.
func TestAReadThatHangsHoldsNoOtherUp(t *testing.T) {
	log := &hookedLog{}
	p := newLogReads(&Engine{options: Options{LogDB: log}}, 2)
	worker := &StepWorker{sig: newSignal()}
	submit := func(from uint64) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.waiting = append(p.waiting, logReadRequest{&Replica{worker: worker}, raft.LogRead{From: from, To: from, Follower: 2}})
		p.wake()
	}
	runReady := func(reader *logReader) {
		for deadline := raft.Instant(-1); reader.Ready() || deadline == 0; {
			deadline = reader.RunOnce(0)
		}
	}
	var served []uint64
	log.read = func(from uint64) {
		if from != 1 {
			served = append(served, from)
			return
		}
		for from := range uint64(4) { // while the first hangs in here
			submit(10 + from)
			runReady(p.readers[1])
		}
		submit(20) // both are busy then
		p.readers[1].sig.clear()
	}
	submit(1)
	runReady(p.readers[0])
	if len(served) < 4 || served[3] != 13 {
		t.Errorf("served are %v", served)
	}
	for _, reader := range p.readers {
		runReady(reader)
	}
	if len(p.waiting) != 0 || p.readers[0].busy {
		t.Errorf("%d are left waiting", len(p.waiting))
	}
}
