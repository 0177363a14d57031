package nodehost_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/transport"
	"github.com/flotilla-raft/flotilla/transport/tcp"
)

// cutter makes the connections of a cluster, and cuts them.
type cutter struct {
	mu    sync.Mutex
	conns map[net.Conn]string // by the address that was dialled
}

func (k *cutter) transport(c nodehost.TransportContext) (transport.Transport, error) {
	return tcp.New(tcp.Options{
		ListenAddress: c.ListenAddress, AdvertiseAddress: c.Identity.Address, Identity: c.Identity, Logger: c.Logger, MaxFrameBytes: c.MaxFrameBytes,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				k.mu.Lock()
				k.conns[conn] = address
				k.mu.Unlock()
			}
			return conn, err
		},
	})
}

// cut ends every connection that was made to an address. What stood in their buffers is lost.
func (k *cutter) cut(address string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for conn, to := range k.conns {
		if to == address {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
			delete(k.conns, conn)
		}
	}
}

const streamCommandBytes = 64 << 10

// fillLarge proposes n commands of 64 KiB, several at a time.
func (c *cluster) fillLarge(host, n int) {
	c.t.Helper()
	next := make(chan int)
	var proposing sync.WaitGroup
	for range 16 {
		proposing.Go(func() {
			for i := range next {
				c.propose(host, 1, fmt.Sprintf("%08d", i)+strings.Repeat("x", streamCommandBytes))
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	proposing.Wait()
}

// sameState waits until a host's machine has what another's has.
func (c *cluster) sameState(machines []*savedJournal, i, j int) {
	c.t.Helper()
	var a, b []string
	c.eventually("as many commands", func() bool {
		a, b = machines[i].all(), machines[j].all()
		return len(a) == len(b) && len(a) > 0
	})
	if !slices.Equal(a, b) {
		c.t.Error("the states differ")
	}
}

// compacted waits until hosts have let go of log.
func (c *cluster) compacted(hosts ...int) {
	c.t.Helper()
	for _, i := range hosts {
		c.eventually("log is let go of", func() bool { return c.hosts[i].Info().Engine.Compactions > 0 })
	}
}

// caughtUp waits until a host has applied what another one has by now.
func (c *cluster) caughtUp(i, with int) {
	c.t.Helper()
	applied := c.hosts[with].Info().Shards[0].Applied
	c.eventually("it has as much", func() bool { return c.hosts[i].Info().Shards[0].Applied >= applied })
}

// A follower is stopped, the log compacted past it, and its state streamed to it over TCP, by the other follower, with the connection cut five
// times: both sides are equal, and the cuts cost at most a tenth.
func TestAStateIsStreamedThroughFiveCuts(t *testing.T) {
	c := newCluster(t, 3)
	connections := &cutter{conns: map[net.Conn]string{}}
	var mu sync.Mutex
	var sources []int // that were offered
	c.configure = func(_ int, config *nodehost.Config) {
		config.Transport = connections.transport
		config.Tuning.SnapshotStreamBytesPerSecond = 40 << 20 // so that the cuts fall into it
		config.Events.SnapshotOffered = func(_ nodehost.ReplicaName, source, _ uint64) {
			mu.Lock()
			defer mu.Unlock()
			sources = append(sources, int(source-1))
		}
	}
	machines := make([]*savedJournal, 3)
	policy := func(r *nodehost.ReplicaConfig) {
		r.Snapshots = nodehost.SnapshotPolicy{Disabled: true, KeepEntries: -1, Retain: 1}
	}
	startOn := func(i int) {
		machine := &preparedJournal{}
		machines[i] = &machine.savedJournal
		c.mustStartSaved(i, machine, policy)
	}
	for i := range c.hosts {
		c.start(i)
		startOn(i)
	}
	leader := c.hold(1)
	lagging, other := (leader+1)%3, (leader+2)%3
	c.propose(leader, 1, "first")
	c.stop(lagging)
	const commands = 512
	c.fillLarge(leader, commands)
	c.snapshot(leader)
	c.compacted(leader)
	c.caughtUp(other, leader)
	c.start(lagging)
	startOn(lagging)
	received := func() uint64 { return c.hosts[lagging].Info().Engine.StreamBytesReceived }
	const size = commands * streamCommandBytes
	for cut := range uint64(5) {
		c.eventually("a part has come", func() bool { return received() >= (cut+1)*size/6 })
		connections.cut(c.addresses[lagging])
	}
	c.eventually("it is installed", func() bool { return c.hosts[lagging].Info().Engine.SnapshotsInstalled == 1 })
	c.sameState(machines, lagging, leader)
	led := c.hosts[leader].Info().Engine.StreamBytesSent
	sent := led + c.hosts[other].Info().Engine.StreamBytesSent
	if float64(sent) > 1.1*float64(received()) || sent < size {
		t.Errorf("%d bytes were sent for a snapshot of %d", sent, received())
	}
	// Should the follower stand still for long, the leader is another source.
	mu.Lock()
	defer mu.Unlock()
	if len(sources) == 0 || sources[0] != other || led != 0 && !slices.Contains(sources, leader) {
		t.Errorf("the sources %v were offered; the leader, %d, sent %d bytes although a follower could", sources, leader, led)
	}
	if machines[lagging].recovered == 0 {
		t.Error("the machine did not recover")
	}
}

// A fresh replica that a membership change adds is brought up by a stream, under load, and has everything in the end.
func TestAFreshReplicaIsStreamedToUnderLoad(t *testing.T) {
	c := newCluster(t, 4)
	machines := make([]*savedJournal, 4)
	members := c.members()
	delete(members, 4)
	start := func(i int, change func(*nodehost.ReplicaConfig)) {
		c.start(i)
		var machine rsm.StateMachine
		if i%2 == 0 {
			m := &preparedJournal{}
			machines[i], machine = &m.savedJournal, m
		} else {
			m := &savedJournal{}
			machines[i], machine = m, m
		}
		c.mustStartSaved(i, machine, func(r *nodehost.ReplicaConfig) {
			r.Members = members
			r.Snapshots = nodehost.SnapshotPolicy{Entries: 50, KeepEntries: -1, Retain: 1}
			if change != nil {
				change(r)
			}
		})
	}
	for i := range 3 {
		start(i, nil)
	}
	leader := c.leader(1)
	c.fillLarge(leader, 200)
	c.compacted(0, 1, 2) // whoever leads by then
	var stop atomic.Bool
	var load sync.WaitGroup
	for worker := range 4 {
		load.Go(func() {
			for i := 0; !stop.Load(); i++ {
				c.propose(leader, 1, fmt.Sprintf("load %d %d", worker, i))
			}
		})
	}
	start(3, func(r *nodehost.ReplicaConfig) { r.Members, r.Join = nil, true })
	c.eventually("it is a member", func() bool { // another leader may have been elected in the middle of it
		_, err := c.shard(leader, 1).ChangeMembers(patient(t), raftpb.MembershipChange{
			Members: []raftpb.MemberChange{{ReplicaID: 4, Kind: raftpb.Voter, Address: c.addresses[3]}},
		})
		return err == nil
	})
	stop.Store(true)
	load.Wait()
	c.propose(c.leader(1), 1, "last")
	for i := range 3 {
		c.sameState(machines, 3, i)
	}
	if c.hosts[3].Info().Engine.SnapshotsInstalled == 0 {
		t.Error("the log alone brought it up: the test shows nothing")
	}
}

// oldJournal reads states of an older version only.
type oldJournal struct {
	savedJournal
	version uint64
}

func (j *oldJournal) StateVersion() uint64 { return j.version }

// A state that cannot be used is refused before the log is touched; one that the machine then fails to recover from quarantines the replica. Both
// are told by Events.
func TestAStateThatCannotBeInstalledIsToldByEvents(t *testing.T) {
	for _, test := range []struct {
		name    string
		version uint64
		want    error
		cause   error
	}{
		{"later version", 1, nodehost.ErrStreamFailed, rsm.ErrStateVersion},
		{"fails to recover", 2, nodehost.ErrInstallFailed, errRefusesToRecover},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCluster(t, 3)
			failures := make(chan error, 100)
			c.configure = func(_ int, config *nodehost.Config) {
				config.Events.StreamFailed = func(_ nodehost.ReplicaName, _ uint64, err error) { failures <- err }
			}
			policy := func(r *nodehost.ReplicaConfig) {
				r.Snapshots = nodehost.SnapshotPolicy{Disabled: true, KeepEntries: -1, Retain: 1}
			}
			for i := range c.hosts {
				c.start(i)
				c.mustStartSaved(i, &oldJournal{version: 2}, policy)
			}
			leader := c.leader(1)
			lagging, other := (leader+1)%3, (leader+2)%3
			c.propose(leader, 1, "first")
			c.stop(lagging)
			for i := range 10 {
				c.propose(leader, 1, fmt.Sprint("command ", i))
			}
			c.caughtUp(other, leader)
			for _, i := range []int{leader, other} { // whoever leads by then
				c.snapshot(i)
				c.compacted(i)
			}
			c.start(lagging)
			c.mustStartSaved(lagging, &refusingJournal{oldJournal{version: test.version}}, policy)
			for told, lost := false, patient(t); !told; {
				select {
				case err := <-failures: // before it, a connection may have been lost
					told = errors.Is(err, test.want) && errors.Is(err, test.cause)
					t.Log(err)
				case <-lost.Done():
					t.Fatal("nobody was told")
				}
			}
			c.propose(c.leader(1), 1, "the others go on")
		})
	}
}

var errRefusesToRecover = errors.New("this machine recovers from nothing")

// refusingJournal recovers from nothing.
type refusingJournal struct{ oldJournal }

func (j *refusingJournal) Recover(context.Context, rsm.SnapshotReader) error {
	return errRefusesToRecover
}
