package kv_test

import (
	"testing"

	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/rsm/kv"
	"github.com/flotilla-raft/flotilla/rsm/rsmtest"
)

func TestConformance(t *testing.T) {
	rsmtest.Run(t, rsmtest.Subject{
		New:     func(rsmtest.Place) (rsm.StateMachine, error) { return kv.New(), nil },
		Command: rsmtest.KeyValueCommand,
		Queries: rsmtest.KeyValueQueries(),
	})
}
