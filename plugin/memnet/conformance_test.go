package memnet

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/internal/leaktest"
	"github.com/flotilla-raft/flotilla/transport"
	"github.com/flotilla-raft/flotilla/transport/transporttest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// running is a network in running mode for the conformance suite.
type running struct {
	*Network
	next *atomic.Int64
}

func (r running) Address(*testing.T) string { return fmt.Sprintf("host-%d", r.next.Add(1)) }

func (r running) Host(_ *testing.T, identity transport.HostIdentity) transport.Transport {
	return r.Network.Host(identity)
}

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults Faults
	}{
		{"Plain", Faults{}},
		{"Delayed", Faults{DelayMin: time.Microsecond, DelayMax: 200 * time.Microsecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			transporttest.Run(t, func(t *testing.T) transporttest.Network {
				network, err := NewNetwork(Options{
					Seed: 1, Faults: c.faults, BulkQueueBytes: 1 << 20, SnapshotQueueBytes: 1 << 20, ControlQueueBytes: 256 << 10, ReconnectPause: time.Millisecond,
				})
				if err != nil {
					t.Fatal(err)
				}
				network.Start()
				return running{network, new(atomic.Int64)}
			})
		})
	}
}
