package engine_test

import (
	"encoding/binary"
	"runtime"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/rsm"
)

// Three hosts with forty-eight shards reach ten thousand applied commands by calls of RunOnce alone: no goroutine is started and no
// clock is read, because there is none to read.
func TestThreeHostsReachTenThousandCommandsInOneGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	const shards, commands = 48, 10_000
	c := newTestCluster(t, 3, nil)
	var ids []uint64
	for shard := uint64(1); shard <= shards; shard++ {
		ids = append(ids, shard)
	}
	c.start(ids...)
	for _, shard := range ids {
		c.waitLeader(shard)
	}
	acknowledged, refused := 0, 0
	for i := range commands {
		shard := ids[i%shards]
		command := binary.BigEndian.AppendUint64(nil, uint64(i))
		err := c.leader(shard).replicas[shard].Propose(command, 0, func(_ rsm.Result, err error) {
			if err != nil {
				t.Errorf("command %d: %v", i, err)
			}
			acknowledged++
		})
		if err != nil {
			refused++
		}
	}
	c.until(10*time.Second, "all acknowledged", func() bool { return acknowledged+refused == commands })
	if refused > 0 {
		t.Errorf("%d commands were refused", refused)
	}
	c.until(10*time.Second, "all applied everywhere", func() bool {
		for _, h := range c.hosts {
			total := 0
			for _, shard := range ids {
				total += len(h.machines[shard].commands)
			}
			if total < commands {
				return false
			}
		}
		return true
	})
	for _, shard := range ids {
		for _, h := range c.hosts[1:] {
			for i, command := range h.machines[shard].commands {
				if first := c.hosts[0].machines[shard]; string(first.commands[i]) != string(command) || first.indexes[i] != h.machines[shard].indexes[i] {
					t.Fatalf("shard %d differs at %d", shard, i)
				}
			}
		}
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}
