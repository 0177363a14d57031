package nodehost_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

// Live tests change a shard on a real cluster, sockets and disks included, while clients read and write registers in closed loops. What the
// clients saw has to be linearizable, and in the end all replicas have to agree.

const (
	liveShard     = 1
	liveClients   = 8
	liveRegisters = 32
	// liveOperations is how many reads and writes have to be answered in each test; the race detector's are fewer.
	liveOperations      = 20_000
	liveOperationsShort = 2_000
)

// registers is the state machine: each write makes the next version of a register.
type registers struct {
	mu       sync.Mutex
	versions [liveRegisters]uint64
	made     map[uint64]uint64 // by operation, the version that it made
}

func newRegisters() *registers { return &registers{made: make(map[uint64]uint64)} }

func (r *registers) Update(entries []rsm.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range entries {
		if len(entries[i].Command) != 16 {
			return fmt.Errorf("a command of %d bytes", len(entries[i].Command))
		}
		register := binary.LittleEndian.Uint64(entries[i].Command) % liveRegisters
		operation := binary.LittleEndian.Uint64(entries[i].Command[8:])
		r.versions[register]++
		r.made[operation] = r.versions[register]
		entries[i].Result = rsm.Result{Value: r.versions[register]}
	}
	return nil
}

// Lookup returns the version of a register, of the first one if none is asked for.
func (r *registers) Lookup(query any) (any, error) {
	register, _ := query.(int)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.versions[register], nil
}

func (r *registers) Close() error { return nil }

// state returns the versions of all registers, and of one operation, 0 if it was not applied.
func (r *registers) state(operation uint64) (versions [liveRegisters]uint64, made uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.versions, r.made[operation]
}

// liveOperation is what a client saw.
type liveOperation struct {
	id               uint64
	register         int
	read, unknown    bool
	version          uint64
	called, returned time.Duration // since the load began
	began            time.Duration // the first try; earlier than called if that was refused
}

// live is a load on one shard. Hosts are attached and detached as they come and go.
type live struct {
	c        *cluster
	base     time.Time
	handles  []atomic.Pointer[nodehost.Shard]
	machines []atomic.Pointer[registers] // the newest on each host
	answered atomic.Int64
	stopping atomic.Bool
	clients  sync.WaitGroup
	seen     [liveClients][]liveOperation
	refusals [liveClients]map[string]int
	changes  []liveChange
}

// liveChange is a span of time that the test has a name for.
type liveChange struct {
	name     string
	from, to time.Duration
}

// newLiveCluster is a cluster whose state machines are registers; nothing runs yet.
func newLiveCluster(t testing.TB, hosts int) *live {
	l := &live{
		c: newCluster(t, hosts), base: time.Now(),
		handles: make([]atomic.Pointer[nodehost.Shard], hosts), machines: make([]atomic.Pointer[registers], hosts),
	}
	l.c.requestTimeout = patience // a slow machine comes nowhere near it, and report looks for requests that do
	l.c.machine = func(host int) rsm.StateMachine {
		m := newRegisters()
		l.machines[host].Store(m)
		return m
	}
	return l
}

// startLive starts the shard on hosts of a new cluster and the load on it.
func startLive(t testing.TB, hosts int) *live {
	l := newLiveCluster(t, hosts)
	l.c.startAll(liveShard)
	l.load()
	return l
}

// load lets the clients go. They use every host that is attached.
func (l *live) load() {
	for i := range l.c.hosts {
		if l.c.hosts[i] == nil {
			continue
		}
		if _, err := l.c.hosts[i].Shard(liveShard); err == nil {
			l.attach(i)
		}
	}
	l.leader()
	l.startClients()
}

func (l *live) startClients() {
	l.c.t.Cleanup(l.halt)
	for i := range liveClients {
		l.refusals[i] = make(map[string]int)
		l.clients.Go(func() { l.client(i) })
	}
}

// attach lets clients use a host that has the shard, detach keeps them from calling it any more.
func (l *live) attach(host int) { l.handles[host].Store(l.c.shard(host, liveShard)) }

func (l *live) detach(host int) { l.handles[host].Store(nil) }

// leader waits until the hosts that are attached agree on a leader that is one of them, and returns it.
func (l *live) leader() (host int) {
	l.c.t.Helper()
	l.c.eventually("one leader", func() bool {
		host = -1
		for i := range l.handles {
			shard := l.handles[i].Load()
			if shard == nil {
				continue
			}
			leader, _, ok := shard.Leader()
			if !ok || host >= 0 && host != int(leader-1) {
				return false
			}
			host = int(leader - 1)
		}
		return host >= 0 && l.handles[host].Load() != nil
	})
	return host
}

func (l *live) halt() {
	l.stopping.Store(true)
	l.clients.Wait()
}

// client reads and writes, half and half, on one host until that refuses; then on the next.
func (l *live) client(number int) {
	random := rand.New(rand.NewPCG(uint64(number), 1))
	pause := time.NewTimer(0)
	defer pause.Stop()
	host, try := number, 0
	var o liveOperation
	for !l.stopping.Load() {
		shard := l.handles[host%len(l.handles)].Load()
		if shard == nil {
			host++
			if try++; try%len(l.handles) == 0 {
				pause.Reset(time.Millisecond)
				<-pause.C
			}
			continue
		}
		now := time.Since(l.base)
		if o.began == 0 {
			o = liveOperation{
				id: uint64(number)<<32 | uint64(len(l.seen[number])+1), register: random.IntN(liveRegisters), read: random.IntN(2) == 0, began: now,
			}
		}
		o.called = now
		err := o.do(shard)
		o.returned = time.Since(l.base)
		if err != nil {
			l.refusals[number][fmt.Sprintf("host %d, read %t: %v", host%len(l.handles), o.read, err)]++
			host++
			pause.Reset(time.Millisecond)
			<-pause.C
		}
		switch {
		case err == nil:
			l.answered.Add(1)
		case o.read || !nodehost.MaybeApplied(err):
			continue // had no effect: tried again
		default:
			o.unknown = true
		}
		l.seen[number] = append(l.seen[number], o)
		o.began = 0
	}
}

// do makes one attempt at an operation.
func (o *liveOperation) do(shard *nodehost.Shard) error {
	if o.read {
		value, err := shard.Read(context.Background(), o.register)
		if err == nil {
			o.version = value.(uint64)
		}
		return err
	}
	var command [16]byte
	binary.LittleEndian.PutUint64(command[:], uint64(o.register))
	binary.LittleEndian.PutUint64(command[8:], o.id)
	result, err := shard.Propose(context.Background(), command[:])
	o.version = result.Value
	return err
}

// reach waits until so many more operations were answered, however long that takes as long as it goes on.
func (l *live) reach(more int64) {
	l.c.t.Helper()
	target := l.answered.Load() + more
	for next := int64(0); next < target; {
		next = min(target, l.answered.Load()+10*liveClients)
		l.c.eventually(fmt.Sprint("an operation of ", more), func() bool { return l.answered.Load() >= next })
	}
}

// some is a stretch of load before, between and after changes.
func (l *live) some() { l.reach(liveTotal() / 20) }

func liveTotal() int64 {
	if testing.Short() {
		return liveOperationsShort
	}
	return liveOperations
}

// during makes a change and notes when, for the latencies.
func (l *live) during(name string, change func()) {
	l.c.t.Helper()
	from := time.Since(l.base)
	change()
	l.changes = append(l.changes, liveChange{name, from, time.Since(l.base)})
	l.some()
}

// finish ends the load when enough was answered, waits until all hosts that are attached have applied the same, and checks what the
// clients saw.
func (l *live) finish() {
	l.c.t.Helper()
	l.reach(max(0, liveTotal()-l.answered.Load()))
	l.halt()
	judge := l.settle()
	l.check(judge)
	l.report()
}

// settle returns the state machine of a host once all that are attached agree.
func (l *live) settle() (judge *registers) {
	l.c.t.Helper()
	l.c.eventually("the replicas agree", func() bool {
		judge = nil
		var first [liveRegisters]uint64
		for i := range l.handles {
			if l.handles[i].Load() == nil {
				continue
			}
			m := l.machines[i].Load()
			versions, _ := m.state(0)
			if judge == nil {
				judge, first = m, versions
			} else if versions != first {
				return false
			}
		}
		return judge != nil
	})
	return judge
}

// report logs the latencies, refusals counted in, of what was under way during each change, and at all other times. No request
// may have waited for its deadline: whatever happens to a shard, somebody knows who waits.
func (l *live) report() {
	var calm []time.Duration
	during := make([][]time.Duration, len(l.changes))
	reads, writes, unknown := 0, 0, 0
	for number := range l.seen {
		for i := range l.seen[number] {
			o := &l.seen[number][i]
			switch {
			case o.unknown:
				unknown++
				continue
			case o.read:
				reads++
			default:
				writes++
			}
			quiet := true
			for i, change := range l.changes {
				if o.returned >= change.from && o.began <= change.to {
					during[i] = append(during[i], o.returned-o.began)
					quiet = false
				}
			}
			if quiet {
				calm = append(calm, o.returned-o.began)
			}
		}
	}
	l.c.t.Logf("%d reads, %d writes, %d writes of unknown outcome in %v", reads, writes, unknown, time.Since(l.base).Round(time.Millisecond))
	l.c.t.Logf("%-28s %v", "otherwise", latencies(calm))
	for i, change := range l.changes {
		l.c.t.Logf("%-28s %v, took %v", change.name, latencies(during[i]), (change.to - change.from).Round(time.Millisecond))
	}
	refusals := make(map[string]int)
	for _, of := range l.refusals {
		for text, n := range of {
			refusals[text] += n
		}
	}
	l.c.t.Logf("refusals: %v", refusals)
	for text := range refusals {
		if strings.Contains(text, nodehost.ErrTimeout.Error()) {
			l.c.t.Errorf("a request was forgotten until its deadline: %s", text)
		}
	}
}

func latencies(all []time.Duration) string {
	if len(all) == 0 {
		return "nothing"
	}
	slices.SortFunc(all, cmp.Compare)
	at := func(q float64) time.Duration { return all[int(q*float64(len(all)-1))].Round(10 * time.Microsecond) }
	return fmt.Sprintf("p50 %v, p99 %v, max %v of %d", at(0.5), at(0.99), at(1), len(all))
}

// startReplica starts replica host+1 of the shard on a host.
func (l *live) startReplica(host int, config nodehost.ReplicaConfig) {
	l.c.t.Helper()
	config.ShardID, config.ReplicaID = liveShard, uint64(host+1)
	if err := l.c.hosts[host].StartReplica(patient(l.c.t), config, l.c.factory(host)); err != nil {
		l.c.t.Fatal(err)
	}
}
