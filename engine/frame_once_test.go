package engine_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// A body is framed once: the bytes that Propose made are those on the wire, in all three logs and in Update, and what Update is
// given on a follower lies in the very buffer that was received.
func TestABodyIsFramedOnce(t *testing.T) {
	const command = "a command of some length"
	c := newTestCluster(t, 3, nil)
	c.start(1)
	leader := c.waitLeader(1)
	if _, err := c.propose(leader, 1, command); err != nil {
		t.Fatal(err)
	}
	c.until(10*time.Second, "applied everywhere", func() bool {
		for _, h := range c.hosts {
			if len(h.machines[1].commands) != 1 {
				return false
			}
		}
		return true
	})
	proposed := raftpb.AppendEntry(nil, []byte(command))
	for i, h := range c.hosts {
		batch := raftpb.Batch(readBatches(t, h, uint64(i+1), h.machines[1].indexes[0]))
		if !bytes.Equal(batch.Body(), proposed) {
			t.Errorf("%s: the log's body is not what was proposed", h.address)
		}
		got := h.machines[1].commands[0]
		if cap(got) != len(got) {
			t.Errorf("%s: the command has room behind it", h.address)
		}
		received := aliased(h.wire.chunks, got)
		switch {
		case h == leader:
			if received != nil {
				t.Error("the leader applied a copy that came back")
			}
		case received == nil:
			t.Errorf("%s: Update was given a copy, not the received buffer", h.address)
		case !bytes.Contains(received, batch):
			t.Errorf("%s: the wire carried other bytes than the log holds", h.address)
		}
	}
}

// aliased returns the buffer that command lies in, or nil.
func aliased(chunks [][]byte, command []byte) []byte {
	for _, chunk := range chunks {
		for at := range chunk {
			if &chunk[at] == &command[0] {
				return chunk
			}
		}
	}
	return nil
}
