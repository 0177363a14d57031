package engine

import (
	"fmt"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// groupOf returns a group of the log store that fill has filled. A store that panics has failed, on whichever goroutine that is: nothing may be
// believed of it any more (R9), and whoever asked is told so.
func (e *Engine) groupOf(fill func(group logdb.Group) error) (group logdb.Group, err error) {
	defer func() {
		if value := recover(); value != nil {
			failure := e.storePanicked(value)
			e.storageFailed(failure)
			group, err = nil, fmt.Errorf("%w: %w", ErrStorageFailed, failure)
		}
	}()
	group = e.options.LogDB.NewGroup()
	return group, fill(group)
}

// emptyGroup is for a barrier behind all writes before it. The commit of one that a store has failed to make fails too.
func (e *Engine) emptyGroup() logdb.Group {
	group, _ := e.groupOf(func(logdb.Group) error { return nil })
	return group
}

// stored reads what the log store has of a replica, with the same guard.
func (e *Engine) stored(key logdb.ReplicaKey) (stored raftpb.Stored, err error) {
	defer func() {
		if value := recover(); value != nil {
			failure := e.storePanicked(value)
			e.storageFailed(failure)
			err = fmt.Errorf("%w: %w", ErrStorageFailed, failure)
		}
	}()
	return e.options.LogDB.Load(key)
}
