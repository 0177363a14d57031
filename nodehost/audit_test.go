package nodehost_test

import (
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

// counted is a journal whose checksum is the number of bytes it has seen, and as many more as it is told to miscount.
type counted struct {
	journal
	bytes, miscounts uint64
}

func (m *counted) Update(entries []rsm.Entry) error {
	for i := range entries {
		m.bytes += uint64(len(entries[i].Command)) + m.miscounts
	}
	return m.journal.Update(entries)
}

func (m *counted) Checksum() (uint64, error) { return m.bytes, nil }

// A replica whose state went apart from that of the others is taken out of service by name of the reason, for a listener and for who reads there;
// the others go on.
func TestADivergedReplicaServesNobody(t *testing.T) {
	c := newCluster(t, 3)
	quarantined := make(chan error, 8)
	c.configure = func(_ int, config *nodehost.Config) {
		config.Events.ReplicaQuarantined = func(replica nodehost.ReplicaName, err error) {
			if replica.ReplicaID != 3 {
				t.Errorf("%v is quarantined: %v", replica, err)
			}
			quarantined <- err
		}
	}
	for i := range 3 {
		c.start(i)
		replica := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: uint64(i + 1), Members: c.members(), Audit: 100 * time.Millisecond}
		factory := func(uint64, uint64) (rsm.StateMachine, error) { return &counted{miscounts: uint64(i / 2)}, nil }
		if err := c.hosts[i].StartReplica(patient(t), replica, factory); err != nil {
			t.Fatal(err)
		}
	}
	c.propose(0, 1, "x")
	select {
	case err := <-quarantined:
		if !errors.Is(err, nodehost.ErrDiverged) {
			t.Errorf("replica 3 is quarantined: %v", err)
		}
	case <-patient(t).Done():
		t.Fatal("nobody is quarantined")
	}
	if _, err := c.shard(2, 1).Read(patient(t), nil); !errors.Is(err, nodehost.ErrDiverged) || !errors.Is(err, nodehost.ErrQuarantined) {
		t.Errorf("a read of replica 3: %v", err)
	}
	c.propose(1, 1, "y")
}
