package main

import (
	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/benchmark/flotilla"
	"github.com/flotilla-raft/flotilla/benchmark/limit"
	"github.com/flotilla-raft/flotilla/benchmark/peers/dragonboat"
	"github.com/flotilla-raft/flotilla/benchmark/peers/hashicorp"
)

// engines lists what can be compared; the first is the default.
func engines() []benchmark.Engine {
	all := []benchmark.Engine{flotilla.Engine(), limit.Engine(), limit.Overwriting()}
	all = append(all, dragonboat.Engines()...)
	return append(all, hashicorp.Engine())
}
