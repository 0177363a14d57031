package raft

import (
	"fmt"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// slowRead is a log read that was done and whose answer is under way.
type slowRead struct {
	LogRead
	batches []raftpb.Batch
}

// What schedules of several leaders need.
func init() {
	scriptCommands["partition"] = func(s *script) { // side=1/2: these reach each other and nobody else
		side := map[*testNode]bool{}
		for _, node := range s.replicas("side") {
			side[node] = true
		}
		for _, from := range s.n.nodes {
			for _, to := range s.n.nodes {
				s.n.cut[[2]uint64{from.id, to.id}] = side[from] != side[to]
			}
		}
	}
	scriptCommands["cut"] = func(s *script) { // one direction only
		s.n.cut[[2]uint64{s.number("from"), s.number("to")}] = true
	}
	scriptCommands["one-batch-a-message"] = func(s *script) { // so that part of a log can be sent; from the next start on
		s.node().options.MaxMessageBytes = 1
	}
	scriptCommands["window"] = func(s *script) { // how much n sends to one follower before it has an answer
		s.node().core.options.MaxInflightMessages = int(s.number("messages"))
	}
	scriptCommands["read-log"] = func(s *script) { // completes the oldest log read of n
		fmt.Fprintf(s.trace, "read %t\n", s.n.readLog(s.node()))
	}
	scriptCommands["beat"] = func(s *script) { // moves the clock to n's next round of heartbeats
		core := s.node().core
		s.n.now = max(s.n.now, core.heartbeatAt)
		core.Tick(s.n.now)
	}
	scriptCommands["pin-nothing"] = func(s *script) { // what is durable is not kept in memory; from the next start on
		s.node().options.MaxPinnedBytes = 1
	}
	scriptCommands["start-read"] = func(s *script) { // the log store reads now what n asked for, and answers at finish-read
		node := s.node()
		r := node.reads[0]
		node.reads = node.reads[1:]
		s.slowReads = append(s.slowReads, slowRead{r, node.disk.read(r)})
	}
	scriptCommands["finish-read"] = func(s *script) {
		r := s.slowReads[0]
		s.slowReads = s.slowReads[1:]
		s.node().core.LogReadDone(s.n.now, r.LogRead, r.batches, nil)
	}
	scriptCommands["forget-vote"] = func(s *script) { // the log store lost the vote, the host's record knows the term
		node := s.node()
		node.promised, _ = node.core.Promise()
		s.n.crash(node)
		node.disk.stored.State.Vote = 0
		s.n.start(node)
	}
	scriptCommands["alone"] = func(s *script) { // delivers everything between n and with=2/3 until nothing is left, and loses the rest
		node := s.node()
		for range 64 {
			for _, each := range append(s.replicas("with"), node) {
				s.n.drain(each)
				for s.n.save(each) || s.n.readLog(each) {
				}
			}
			if len(s.n.queue) == 0 {
				return
			}
			queue := s.n.queue
			s.n.queue = nil
			for _, m := range queue {
				for _, other := range s.replicas("with") {
					if m.From == node.id && m.To == other.id || m.To == node.id && m.From == other.id {
						s.n.queue = []raftpb.Message{m}
						s.n.deliver(0)
					}
				}
			}
			s.n.queue = nil
		}
	}
}
