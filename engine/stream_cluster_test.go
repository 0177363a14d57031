package engine_test

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
	"github.com/flotilla-raft/flotilla/transport"
)

// aside is a worker that may stay inside a user's state machine while others go on, as it would on a goroutine of its own. While it does, it
// is looked at again every millisecond of the cluster's time.
type aside struct {
	engine.Worker
	suspend *func() // of the host: what Options.Yield calls
	yield   func()
	next    func() (struct{}, bool)
	stop    func()
	result  raft.Instant
}

func (c *aside) Ready() bool { return c.next == nil && c.Worker.Ready() }

func (c *aside) RunOnce(now raft.Instant) raft.Instant {
	if c.next == nil {
		c.next, c.stop = iter.Pull(func(yield func(struct{}) bool) {
			c.yield = func() { yield(struct{}{}) }
			c.result = c.Worker.RunOnce(now)
		})
	}
	before := *c.suspend
	*c.suspend = func() { c.yield() }
	_, running := c.next()
	*c.suspend = before
	if running {
		return now + raft.Instant(time.Millisecond)
	}
	c.stop()
	c.next, c.stop = nil, nil
	return c.result
}

// streamHost is what a host of a streamCluster has beside its engine.
type streamHost struct {
	*testHost
	*hooks
	fs        *vfs.MemFS
	files     vfs.FS // fs, failing as a test wishes
	directory *snapshot.Directory
	disk      *platter
	suspend   func()
	// withoutSyncs lets syncs do nothing while it is set.
	withoutSyncs bool
	version      uint64 // of the format of the state
	torn         bool   // a Recover is under way, or was when the power failed
	fails        func(op errorfs.Op) error
	tamper       func(lane transport.Lane, m *raftpb.Message) bool // false drops a message
}

// streamCluster is a cluster of hosts that keep snapshots, each on a disk of its own.
type streamCluster struct {
	*testCluster
	kind   rsm.Kind
	policy engine.SnapshotPolicy
	list   []*streamHost
	change func(*engine.Options)
	keeper bool // machines on disk keep sessions
	also   func(*engine.ReplicaOptions)
}

const (
	testChunk  = 1 << 10
	testWindow = 8 << 10
)

func newStreamCluster(t testing.TB, hosts int, kind rsm.Kind, change func(*engine.Options)) *streamCluster {
	c := &streamCluster{kind: kind, policy: engine.SnapshotPolicy{Disabled: true, KeepEntries: -1, Retain: 1}, change: change}
	for range hosts {
		fs := vfs.NewCrashableMem()
		s := &streamHost{hooks: &hooks{}, fs: fs, disk: &platter{}}
		s.wrap()
		c.list = append(c.list, s)
	}
	c.testCluster = newTestCluster(t, hosts, c.options)
	for i, h := range c.hosts {
		c.list[i].testHost = h
		c.list[i].prepare()
	}
	return c
}

// wrap makes the file system fail where a test wants it to.
func (s *streamHost) wrap() {
	s.files = errorfs.Wrap(&forgetfulFS{s.fs, s}, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if s.fails == nil {
			return nil
		}
		return s.fails(op)
	}))
}

// options are called when a host opens its engine.
func (c *streamCluster) options(o *engine.Options) {
	i := int(o.Address[4] - '1')
	s := c.list[i]
	directory, err := snapshot.OpenDirectory(s.files, "snapshots")
	if err != nil {
		panic(err)
	}
	s.directory, o.Snapshots = directory, directory
	o.SnapshotChunkBytes, o.SnapshotWindowBytes = testChunk, testWindow
	o.Yield = func() bool {
		if s.suspend != nil {
			s.suspend()
		}
		return true
	}
	if c.change != nil {
		c.change(o)
	}
}

// prepare makes coroutines of the workers that call a user's code, and lets a test see what arrives.
func (s *streamHost) prepare() {
	for i, worker := range s.workers {
		if engine.CallsUser(worker) {
			s.workers[i] = &aside{Worker: worker, suspend: &s.suspend}
		}
	}
	s.wire.Handler = &tampering{s.wire.Handler, s}
}

// tampering lets a test change or drop what a host receives.
type tampering struct {
	transport.Handler
	host *streamHost
}

func (t *tampering) Receive(from transport.HostIdentity, lane transport.Lane, messages []raftpb.Message) {
	if t.host.tamper == nil {
		t.Handler.Receive(from, lane, messages)
		return
	}
	var kept []raftpb.Message
	for _, m := range messages {
		if t.host.tamper(lane, &m) {
			kept = append(kept, m)
		}
	}
	if len(kept) > 0 {
		t.Handler.Receive(from, lane, kept)
	}
}

func (c *streamCluster) factory(s *streamHost) rsm.Factory {
	return func(uint64, uint64) (rsm.StateMachine, error) {
		s.made++
		w := words{hooks: s.hooks}
		switch c.kind {
		case rsm.KindConcurrent:
			m := &concurrentWords{w}
			s.newest = &m.words
			return m, nil
		case rsm.KindOnDisk:
			m := &diskWords{concurrentWords{w}, s.disk}
			s.newest = &m.words
			if c.keeper {
				return &keeperWords{m, &s.torn}, nil
			}
			return m, nil
		}
		s.newest = &w
		return &versionedWords{s.newest, s}, nil
	}
}

// versionedWords say of which version their format is.
type versionedWords struct {
	*words
	host *streamHost
}

func (v *versionedWords) StateVersion() uint64 { return v.host.version }

// startOn starts shard 1 on a host, replica i+1 on host i.
func (c *streamCluster) startOn(i int, change func(*engine.ReplicaOptions)) {
	c.t.Helper()
	s := c.list[i]
	options := engine.ReplicaOptions{ShardID: 1, ReplicaID: uint64(i + 1), Members: c.members(), Snapshots: c.policy}
	for _, change := range []func(*engine.ReplicaOptions){c.also, change} {
		if change != nil {
			change(&options)
		}
	}
	open := true
	s.engine.StartReplica(options, c.factory(s), func(r *engine.Replica, err error) {
		open = false
		if err != nil {
			c.t.Errorf("start on host %d: %v", i+1, err)
			return
		}
		s.replicas[1] = r
	})
	c.until(time.Minute, "start", func() bool { return !open })
}

// startAll starts the shard on every host and waits for a leader.
func (c *streamCluster) startAll() {
	c.t.Helper()
	for i := range c.list {
		c.startOn(i, nil)
	}
	c.waitLeader(1)
}

// led returns the place of the leader.
func (c *streamCluster) led() int {
	c.t.Helper()
	return slices.Index(c.hosts, c.waitLeader(1))
}

// fill proposes words from..to, long ones, through the leader.
func (c *streamCluster) fill(from, to int) {
	c.t.Helper()
	for i := from; i <= to; i++ {
		for tries := 0; ; tries++ {
			_, err := c.propose(c.hosts[c.led()], 1, longWord(i))
			if err == nil {
				break
			}
			if tries > 50 {
				c.t.Fatalf("word %d: %v", i, err)
			}
			c.testCluster.run(20 * time.Millisecond)
		}
	}
}

func longWord(i int) string { return wordOf(i) + strings.Repeat(" and more", 20) }

func longWordsTo(n int) (list []string) {
	for i := 1; i <= n; i++ {
		list = append(list, longWord(i))
	}
	return list
}

// cutOff separates a host from all others, or joins it again.
func (c *streamCluster) cutOff(i int, cut bool) {
	for j, other := range c.hosts {
		if j != i {
			c.network.SetPartitioned(c.hosts[i].address, other.address, cut)
			c.network.SetPartitioned(other.address, c.hosts[i].address, cut)
		}
	}
}

// breakAll ends every connection of a host, in both directions.
func (c *streamCluster) breakAll(i int) {
	for j, other := range c.hosts {
		if j != i {
			c.network.BreakConnection(c.hosts[i].address, other.address)
			c.network.BreakConnection(other.address, c.hosts[i].address)
		}
	}
}

// take takes a snapshot on a host and lets the log behind it go.
func (c *streamCluster) take(i int) uint64 {
	c.t.Helper()
	open, index := true, uint64(0)
	c.list[i].replicas[1].Snapshot(func(at uint64, err error) {
		if open, index = false, at; err != nil {
			c.t.Errorf("snapshot on host %d: %v", i+1, err)
		}
	})
	c.until(time.Minute, "snapshot", func() bool { return !open })
	c.until(time.Minute, "compaction", func() bool { return c.compacted(i) >= index })
	return index
}

func (c *streamCluster) compacted(i int) uint64 {
	stored, err := c.hosts[i].log.Load(keyOf(1, uint64(i+1)))
	if err != nil {
		c.t.Fatal(err)
	}
	return stored.Compacted
}

// has says whether a host's state machine has exactly the first n long words.
func (c *streamCluster) has(i, n int) bool {
	s := c.list[i]
	return s.replicas[1] != nil && s.newest != nil && len(s.newest.list) == n
}

func (c *streamCluster) waitState(i, n int) {
	c.t.Helper()
	c.until(5*time.Minute, fmt.Sprintf("host %d has %d words", i+1, n), func() bool { return c.has(i, n) })
	if !slices.Equal(c.list[i].newest.list, longWordsTo(n)) {
		c.t.Fatalf("host %d has other words than were proposed", i+1)
	}
}

// behind makes a cluster of three of which one host, which does not lead, lacks what the others have compacted. It returns the leader's place,
// that of the other follower, and that of the one behind. words is how many there are.
func (c *streamCluster) behind(words int) (leader, other, lagging int) {
	c.t.Helper()
	c.startAll()
	c.fill(1, 2)
	leader = c.led()
	lagging, other = (leader+1)%3, (leader+2)%3
	c.waitState(lagging, 2)
	c.cutOff(lagging, true)
	c.fill(3, words)
	c.waitState(other, words)
	c.take(leader)
	return leader, other, lagging
}

func (c *streamCluster) counters(i int) engine.Counters { return c.hosts[i].engine.Counters() }

func (c *streamCluster) eventsOf(kind engine.EventKind) (found []engine.Event) {
	for _, event := range c.events {
		if event.Kind == kind {
			found = append(found, event)
		}
	}
	return found
}

// crash loses everything of a host that was not synced, and opens a new engine on what is left.
func (c *streamCluster) crash(i int) {
	s := c.list[i]
	log := s.log.Crash(func(int) int { return 0 })
	_ = s.transport.Close()
	s.fs = s.fs.CrashClone(vfs.CrashCloneCfg{})
	s.wrap()
	s.log = log
	s.log.SetAutomatic(true)
	s.disk.crash()
	s.suspend = nil
	s.testHost.open(c.options)
	s.prepare()
}

// forgetfulFS is a disk that forgets to sync when its host says so.
type forgetfulFS struct {
	vfs.FS
	host *streamHost
}

func (f *forgetfulFS) wrap(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &forgetfulFile{file, f.host}, nil
}

func (f *forgetfulFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.wrap(f.FS.Create(name, category))
}

func (f *forgetfulFS) OpenDir(name string) (vfs.File, error) { return f.wrap(f.FS.OpenDir(name)) }

type forgetfulFile struct {
	vfs.File
	host *streamHost
}

func (f *forgetfulFile) sync(do func() error) error {
	if f.host.withoutSyncs {
		return nil
	}
	return do()
}

func (f *forgetfulFile) Sync() error     { return f.sync(f.File.Sync) }
func (f *forgetfulFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *forgetfulFile) SyncTo(length int64) (full bool, err error) {
	err = f.sync(func() error {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}
