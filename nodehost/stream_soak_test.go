package nodehost_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/rsm/kv"
	"github.com/flotilla-raft/flotilla/rsm/pebblekv"
)

// How large the state is that is streamed, when -soak does not say more.
const (
	largeState     = 4 << 20
	largeStateSoak = 1 << 30
)

// A large state on disk, under load: a follower is stopped, the log compacted past it, and the state streamed to it over TCP with the
// connection cut five times, which costs at most a tenth; then a membership change adds a fresh replica, which is streamed to as well. The
// states are equal in the end.
func TestALargeStateIsStreamedUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("TestAStateIsStreamedThroughFiveCuts and TestAFreshReplicaIsStreamedToUnderLoad are shorter")
	}
	r := &largeRun{t: t, c: newCluster(t, 4), size: largeState, machines: make([]*pebblekv.Machine, 4)}
	if *soak > 0 {
		r.size = largeStateSoak
	}
	r.connections = &cutter{conns: map[net.Conn]string{}}
	r.c.configure = func(_ int, config *nodehost.Config) {
		config.Transport = r.connections.transport
		if *soak == 0 {
			config.Tuning.SnapshotStreamBytesPerSecond = 8 << 20 // so that the cuts fall into it
		}
		config.Events.ReplicaQuarantined = func(replica nodehost.ReplicaName, err error) { t.Errorf("%v: %v", replica, err) }
	}
	for i := range 3 {
		r.start(i, false)
	}
	leader := r.c.leader(1)
	lagging := (leader + 1) % 3
	r.put(leader, "first", make([]byte, 1))
	r.c.stop(lagging)
	r.fill(leader)
	r.compact(leader, lagging)
	stop := r.load((leader + 2) % 3)
	r.start(lagging, false)
	r.cutFiveTimes(lagging)
	r.addFresh(leader)
	stop()
	r.compare()
}

// largeRun is one run of that test.
type largeRun struct {
	t           *testing.T
	c           *cluster
	size        int
	connections *cutter
	machines    []*pebblekv.Machine
}

func (r *largeRun) start(i int, fresh bool) {
	r.t.Helper()
	r.c.start(i)
	members := r.c.members()
	delete(members, 4)
	config := nodehost.ReplicaConfig{
		ShardID: 1, ReplicaID: uint64(i + 1), Members: members, Join: fresh,
		Snapshots: nodehost.SnapshotPolicy{Disabled: true, KeepEntries: -1},
	}
	if fresh {
		config.Members = nil
	}
	factory := func(uint64, uint64) (_ rsm.StateMachine, err error) {
		r.machines[i], err = pebblekv.New(pebblekv.Options{Dir: filepath.Join(r.c.dirs[i], "machine")})
		return r.machines[i], err
	}
	if err := r.c.hosts[i].StartReplica(patient(r.t), config, factory); err != nil {
		r.t.Fatal(err)
	}
}

func (r *largeRun) put(i int, key string, value []byte) {
	r.c.propose(i, 1, string(kv.Put([]byte(key), value)))
}

// fill puts values of 64 KiB that do not compress.
func (r *largeRun) fill(host int) {
	r.t.Helper()
	var filling sync.WaitGroup
	const callers = 16
	for caller := range callers {
		filling.Go(func() {
			random := rand.NewChaCha8([32]byte{byte(caller)})
			value := make([]byte, streamCommandBytes)
			for i := caller; i < r.size/streamCommandBytes; i += callers {
				_, _ = random.Read(value) // never fails
				r.put(host, fmt.Sprint("fill ", i), value)
			}
		})
	}
	filling.Wait()
}

// compact lets everybody but one let go of the log.
func (r *largeRun) compact(leader, lagging int) {
	r.t.Helper()
	for i := range 3 {
		if i == lagging {
			continue
		}
		before := r.c.hosts[i].Info().Engine.Compactions
		r.c.eventually("it has everything", func() bool {
			return r.c.hosts[i].Info().Shards[0].Applied >= r.c.hosts[leader].Info().Shards[0].Applied
		})
		r.c.snapshot(i)
		r.c.eventually("log is let go of", func() bool { return r.c.hosts[i].Info().Engine.Compactions > before })
	}
}

// load proposes small commands until it is stopped.
func (r *largeRun) load(host int) (stop func()) {
	var over atomic.Bool
	var load sync.WaitGroup
	for caller := range 4 {
		load.Go(func() {
			for i := 0; !over.Load(); i++ {
				r.put(host, fmt.Sprint("load ", caller, " ", i%1000), fmt.Append(nil, i))
			}
		})
	}
	return func() {
		over.Store(true)
		load.Wait()
	}
}

func (r *largeRun) cutFiveTimes(lagging int) {
	r.t.Helper()
	received := func() uint64 { return r.c.hosts[lagging].Info().Engine.StreamBytesReceived }
	for cut := range uint64(5) {
		r.c.eventually("a part has come", func() bool { return received() >= (cut+1)*uint64(r.size)/7 })
		r.connections.cut(r.c.addresses[lagging])
	}
	r.c.eventually("it is installed", func() bool { return r.c.hosts[lagging].Info().Engine.SnapshotsInstalled > 0 })
	var sent uint64
	for _, host := range r.c.hosts[:3] {
		sent += host.Info().Engine.StreamBytesSent
	}
	if got := received(); float64(sent) > 1.1*float64(got) || got < uint64(r.size) {
		r.t.Errorf("%d bytes were sent for a snapshot of %d, of a state of %d", sent, got, r.size)
	}
}

func (r *largeRun) addFresh(leader int) {
	r.t.Helper()
	r.start(3, true)
	r.c.eventually("it is a member", func() bool {
		_, err := r.c.shard(leader, 1).ChangeMembers(patient(r.t), raftpb.MembershipChange{
			Members: []raftpb.MemberChange{{ReplicaID: 4, Kind: raftpb.Voter, Address: r.c.addresses[3]}},
		})
		return err == nil
	})
	r.c.eventually("it was brought up by a snapshot", func() bool { return r.c.hosts[3].Info().Engine.SnapshotsInstalled > 0 })
}

// compare holds the states against each other.
func (r *largeRun) compare() {
	r.t.Helper()
	r.put(r.c.leader(1), "last", nil)
	var sums []uint64
	for i := range r.c.hosts {
		var size any
		r.c.eventually("a read", func() (ok bool) {
			var err error
			size, err = r.c.shard(i, 1).Read(patient(r.t), kv.Size{})
			return err == nil
		})
		sum, err := r.machines[i].Checksum()
		if err != nil || size.(uint64) < uint64(r.size/streamCommandBytes) {
			r.t.Errorf("host %d: %d keys, %v", i+1, size, err)
		}
		if sums = append(sums, sum); sum != sums[0] {
			r.t.Errorf("hosts 1 and %d differ", i+1)
		}
	}
}
