package hashicorp

import (
	"io"

	"github.com/hashicorp/raft"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// stateMachine is the harness's machine behind the library's contract for batches.
type stateMachine struct{ machine *benchmark.Machine }

func (s *stateMachine) Apply(entry *raft.Log) any { return s.ApplyBatch([]*raft.Log{entry})[0] }

func (s *stateMachine) ApplyBatch(entries []*raft.Log) []any {
	results := make([]any, len(entries))
	s.machine.Begin()
	defer s.machine.End()
	for _, entry := range entries {
		if entry.Type == raft.LogCommand {
			s.machine.Apply(entry.Index, entry.Data)
		}
	}
	return results
}

func (s *stateMachine) Snapshot() (raft.FSMSnapshot, error) { return snapshot{s.machine}, nil }

func (s *stateMachine) Restore(from io.ReadCloser) error {
	defer from.Close()
	return s.machine.Recover(from)
}

type snapshot struct{ machine *benchmark.Machine }

func (s snapshot) Persist(to raft.SnapshotSink) error { return s.machine.Save(to) }

func (s snapshot) Release() {}
