package nodehost_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

// openSession opens a session through a host.
func (c *cluster) openSession(i int, id uint64) *nodehost.Session {
	c.t.Helper()
	session, err := c.shard(i, id).OpenSession(patient(c.t))
	if err != nil {
		c.t.Fatal(err)
	}
	return session
}

// onceIn fails unless each command was applied once, in any order.
func onceIn(t testing.TB, applied []string, commands ...string) {
	t.Helper()
	applied, commands = slices.Sorted(slices.Values(applied)), slices.Sorted(slices.Values(commands))
	if !slices.Equal(applied, commands) {
		t.Errorf("applied %q, want %q", applied, commands)
	}
}

// sticking holds a state machine up in the command "stick".
type sticking struct {
	stuck, entered atomic.Bool
	release        chan struct{}
}

func newSticking() *sticking { return &sticking{release: make(chan struct{})} }

func (s *sticking) hook(command string) error {
	if command == "stick" && s.stuck.Load() {
		s.entered.Store(true)
		<-s.release
	}
	return nil
}

// lose makes a call that is committed, and whose context ends before its answer comes.
func (s *sticking) lose(c *cluster, session *nodehost.Session) (call *nodehost.Call, err error) {
	s.stuck.Store(true)
	call = session.Call([]byte("stick"))
	ctx, cancel := context.WithCancel(patient(c.t))
	lost := make(chan error, 1)
	go func() {
		_, err := call.Propose(ctx)
		lost <- err
	}()
	c.eventually("committed", s.entered.Load)
	cancel()
	return call, <-lost
}

// The client's side never hears of the commit: its context ends while the command is being applied. It proposes the call again, and gets the
// answer of the first time.
func TestACallWhoseResponseWasLostIsAppliedOnce(t *testing.T) {
	c := newCluster(t, 3)
	sticking := newSticking()
	c.hook = func(_ int, _ uint64, command string) error { return sticking.hook(command) }
	c.startAll(1)
	session := c.openSession(0, 1)
	if _, err := session.Propose(patient(t), []byte("before")); err != nil {
		t.Fatal(err)
	}
	call, err := sticking.lose(c, session)
	if !errors.Is(err, context.Canceled) || !nodehost.MaybeApplied(err) {
		t.Fatalf("a call whose context ended: %v", err)
	}
	close(sticking.release)
	for range 3 {
		result, err := call.Propose(patient(t))
		if err != nil || result.Value != 2 || string(result.Data) != "stick" {
			t.Fatalf("proposed again: %+v, %v", result, err)
		}
	}
	onceIn(t, c.read(2, 1), "before", "stick")
}

// The leader is killed with the call under way, the retry goes to another host.
func TestARetryOnAnotherHostGetsTheFirstAnswer(t *testing.T) {
	c := newCluster(t, 3)
	var host atomic.Int32
	host.Store(-1)
	var once sync.Once
	entered, release := make(chan struct{}), make(chan struct{})
	c.hook = func(i int, _ uint64, command string) error {
		if command == "stick" && i == int(host.Load()) {
			once.Do(func() { close(entered) })
			<-release
		}
		return nil
	}
	c.startAll(1)
	leader := c.leader(1)
	host.Store(int32(leader))
	other := (leader + 1) % 3
	session := c.openSession(leader, 1)
	call := session.Call([]byte("stick"))
	failed := make(chan error, 1)
	go func() {
		_, err := call.Propose(patient(t))
		failed <- err
	}()
	<-entered
	closed := make(chan error, 1)
	victim := c.hosts[leader]
	c.hosts[leader] = nil
	go func() { closed <- victim.Close() }()
	if err := <-failed; !errors.Is(err, nodehost.ErrStopped) || !nodehost.MaybeApplied(err) {
		t.Fatalf("a call on a host that stops: %v", err)
	}
	close(release)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if err := session.Via(c.shard(other, 1)); err != nil {
		t.Fatal(err)
	}
	result, err := call.Propose(patient(t))
	if err != nil || result.Value != 1 || string(result.Data) != "stick" {
		t.Fatalf("proposed elsewhere: %+v, %v", result, err)
	}
	if _, err := session.Propose(patient(t), []byte("next")); err != nil {
		t.Fatal(err)
	}
	onceIn(t, c.read(other, 1), "stick", "next")
	if err := session.Close(patient(t)); err != nil {
		t.Fatal(err)
	}
}

// One call proposed by many at once, with many calls beside it.
func TestManyCallsAtOnce(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll(1)
	session := c.openSession(1, 1)
	call := session.Call([]byte("one"))
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			if result, err := call.Propose(patient(t)); err != nil || string(result.Data) != "one" {
				t.Errorf("%+v, %v", result, err)
			}
		})
		wait.Go(func() {
			for n := range 50 {
				command := fmt.Sprint(i, "/", n)
				if result, err := session.Propose(patient(t), []byte(command)); err != nil || string(result.Data) != command {
					t.Errorf("%+v, %v", result, err)
				}
			}
		})
	}
	wait.Wait()
	want := []string{"one"}
	for i := range 8 {
		for n := range 50 {
			want = append(want, fmt.Sprint(i, "/", n))
		}
	}
	onceIn(t, c.read(2, 1), want...)
}

func TestTheSessionThatWasNotUsedForLongestIsEvicted(t *testing.T) {
	c := newCluster(t, 1)
	c.start(0)
	config := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Members: c.members(), MaxSessions: 2}
	if err := c.hosts[0].StartReplica(patient(t), config, c.factory(0)); err != nil {
		t.Fatal(err)
	}
	first, second := c.openSession(0, 1), c.openSession(0, 1)
	for _, session := range []*nodehost.Session{second, first} {
		if _, err := session.Propose(patient(t), []byte("in use")); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.openSession(0, 1)
	if _, err := first.Propose(patient(t), []byte("kept")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := second.Propose(patient(t), []byte("evicted")); !errors.Is(err, nodehost.ErrSessionExpired) || nodehost.MaybeApplied(err) {
			t.Fatalf("a call of an evicted session: %v", err)
		}
	}
	if err := second.Close(patient(t)); err != nil {
		t.Errorf("close of an evicted session: %v", err)
	}
	onceIn(t, c.read(0, 1), "in use", "in use", "kept")
}

func TestMistakesWithSessionsAreNamed(t *testing.T) {
	c := newCluster(t, 1)
	var stuck atomic.Bool
	release := make(chan struct{})
	c.hook = func(_ int, _ uint64, command string) error {
		if command == "stick" && stuck.Load() {
			<-release
		}
		return nil
	}
	c.startAll(1, 2)
	session := c.openSession(0, 1)
	unproposed := session.Call([]byte("never proposed"))
	if err := session.Via(c.shard(0, 2)); !errors.Is(err, nodehost.ErrOtherShard) {
		t.Errorf("through another shard: %v", err)
	}
	large := session.Call([]byte(string(make([]byte, nodehost.DefaultMaxCommandBytes+1))))
	for range 2 {
		if _, err := large.Propose(patient(t)); !errors.Is(err, nodehost.ErrTooLarge) || nodehost.MaybeApplied(err) {
			t.Errorf("too large: %v", err)
		}
	}
	abandoned := session.Call([]byte("abandoned"))
	abandoned.Abandon()
	if _, err := abandoned.Propose(patient(t)); !errors.Is(err, nodehost.ErrCallForgotten) || nodehost.MaybeApplied(err) {
		t.Errorf("abandoned: %v", err)
	}
	// One call that is under way for ever holds up the acknowledgement of those that follow.
	stuck.Store(true)
	oldest := session.Call([]byte("stick"))
	answered := make(chan error, 1)
	if err := oldest.ProposeAsync(func(_ rsm.Result, err error) { answered <- err }); err != nil {
		t.Fatal(err)
	}
	var calls []*nodehost.Call
	for range nodehost.MaxSessionCalls - 1 {
		call := session.Call([]byte("x"))
		if err := call.ProposeAsync(func(rsm.Result, error) {}); err != nil {
			t.Fatal(err)
		}
		calls = append(calls, call)
	}
	calls[0].Abandon() // is not the oldest
	busy := session.Call([]byte("busy"))
	if _, err := busy.Propose(patient(t)); !errors.Is(err, nodehost.ErrSessionBusy) || nodehost.MaybeApplied(err) {
		t.Errorf("one call too many: %v", err)
	}
	close(release)
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	if _, err := busy.Propose(patient(t)); err != nil {
		t.Fatal(err)
	}
	if err := session.Close(patient(t)); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		func() error { _, err := session.Propose(patient(t), nil); return err }(),
		func() error { _, err := unproposed.Propose(patient(t)); return err }(),
		session.Call(nil).ProposeAsync(func(rsm.Result, error) { t.Error("called") }),
	} {
		if !errors.Is(err, nodehost.ErrSessionClosed) || nodehost.MaybeApplied(err) {
			t.Errorf("after Close: %v", err)
		}
	}
	if err := session.Close(patient(t)); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	cause := errors.New("cause")
	ended, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	if _, err := c.shard(0, 1).OpenSession(ended); !errors.Is(err, cause) {
		t.Errorf("open with an ended context: %v", err)
	}
	config := nodehost.ReplicaConfig{ShardID: 3, ReplicaID: 1, Members: c.members(), MaxSessions: -1}
	if err := c.hosts[0].StartReplica(patient(t), config, newJournal); !errors.Is(err, nodehost.ErrInvalidConfig) {
		t.Errorf("a negative number of sessions: %v", err)
	}
}

// plainDisk is on disk and keeps no sessions.
type plainDisk struct{ journal }

func (*plainDisk) Open(context.Context) (uint64, error) { return 0, nil }
func (*plainDisk) Sync() error                          { return nil }
func (*plainDisk) Prepare() (rsm.View, error)           { return nil, errors.New("no views") }
func (*plainDisk) Recover(context.Context, rsm.SnapshotReader) error {
	return errors.New("no snapshots")
}

func TestAMachineOnDiskWithoutSessionsOpensNone(t *testing.T) {
	c := newCluster(t, 1)
	c.machine = func(int) rsm.StateMachine { return &plainDisk{} }
	c.startAll(1)
	c.propose(0, 1, "plain")
	if _, err := c.shard(0, 1).OpenSession(patient(t)); !errors.Is(err, nodehost.ErrNoSessions) {
		t.Errorf("got %v", err)
	}
}

func TestCallsWithoutWaiting(t *testing.T) {
	c := newCluster(t, 1)
	c.startAll(1)
	session := c.openSession(0, 1)
	answers := make(chan rsm.Result, 3)
	call := session.Call([]byte("async"))
	for range 3 { // the third is answered at once if the call has ended by then
		if err := call.ProposeAsync(func(result rsm.Result, err error) {
			if err != nil {
				t.Error(err)
			}
			answers <- result
		}); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if result := <-answers; string(result.Data) != "async" || result.Value != 1 {
			t.Errorf("answer %+v", result)
		}
	}
	if err := call.ProposeAsync(func(rsm.Result, error) { answers <- rsm.Result{} }); err != nil {
		t.Fatal(err)
	}
	<-answers
	onceIn(t, c.read(0, 1), "async")
}

// Calls without waiting end with the outcomes of their own commands, and every one ends, also those that are refused.
func TestAsyncCallsOfASession(t *testing.T) {
	c := newCluster(t, 1)
	c.startAll(1)
	session := c.openSession(0, 1)
	var want []string
	var wait sync.WaitGroup
	for i := range 500 {
		command := fmt.Sprint("async ", i)
		want = append(want, command)
		wait.Add(1)
		err := session.ProposeAsync([]byte(command), func(result rsm.Result, err error) {
			if err != nil || string(result.Data) != command {
				t.Errorf("%+v, %v", result, err)
			}
			wait.Done()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	wait.Wait()
	onceIn(t, c.read(0, 1), want...)
	large := make([]byte, nodehost.DefaultMaxCommandBytes+1)
	for range nodehost.MaxSessionCalls + 1 { // each has ended, or there would be no room for the last
		if err := session.ProposeAsync(large, nil); !errors.Is(err, nodehost.ErrTooLarge) {
			t.Fatal(err)
		}
	}
	if err := session.Close(patient(t)); err != nil {
		t.Fatal(err)
	}
	if err := session.ProposeAsync(nil, nil); !errors.Is(err, nodehost.ErrSessionClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Clients with sessions retry whatever ends without an answer, on any host, while leaders are deposed and hosts restarted: every
// command is applied once, on every host.
func TestSessionsThroughElectionsAndRestarts(t *testing.T) {
	c := newCluster(t, 3)
	c.configure = func(_ int, config *nodehost.Config) { config.RequestTimeout = 300 * time.Millisecond }
	c.startAll(1)
	const clients, calls = 4, 60
	var handles sync.RWMutex
	handle := func(i int) *nodehost.Shard {
		handles.RLock()
		defer handles.RUnlock()
		if c.hosts[i] == nil {
			return nil
		}
		shard, err := c.hosts[i].Shard(1)
		if err != nil {
			return nil
		}
		return shard
	}
	var done atomic.Int32
	var wait sync.WaitGroup
	for client := range clients {
		session := c.openSession(client%3, 1)
		wait.Go(func() {
			for n := range calls {
				call := session.Call([]byte(fmt.Sprint(client, "/", n)))
				for try := 0; ; try++ {
					if shard := handle((client + n + try) % 3); shard != nil {
						if err := session.Via(shard); err != nil {
							t.Error(err)
						}
					}
					ctx, cancel := context.WithTimeout(patient(t), time.Duration(1+try)*5*time.Millisecond)
					_, err := call.Propose(ctx)
					cancel()
					if err == nil {
						break
					}
					if errors.Is(err, nodehost.ErrSessionExpired) || patient(t).Err() != nil {
						t.Errorf("call %d/%d: %v", client, n, err)
						return
					}
				}
				done.Add(1)
			}
		})
	}
	for n := int32(1); n <= 6; n++ {
		c.eventually("progress", func() bool { return done.Load() >= n*clients*calls/8 })
		victim := int(n) % 3
		if n%2 == 0 {
			_ = handle(victim).TransferLeader(patient(t), 0)
			continue
		}
		handles.Lock()
		c.stop(victim)
		c.start(victim)
		c.startShards(victim, 1)
		handles.Unlock()
	}
	wait.Wait()
	var want []string
	for client := range clients {
		for n := range calls {
			want = append(want, fmt.Sprint(client, "/", n))
		}
	}
	for i := range 3 {
		onceIn(t, c.read(i, 1), want...)
	}
}
