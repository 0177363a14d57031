package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/modellog"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// words is a state machine in memory: a list of commands.
type words struct {
	list      []string
	updated   int // commands that Update was handed, by this instance
	recovered int // words that Recover found
	saves     int
	hooks     *hooks
}

// hooks are what a test lets machines do, and what it sees of them.
type hooks struct {
	save, recover, sync, open, prepare func() error
	inSave                             func() // between two writes
	made                               int
	newest                             *words
}

func call(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}

func (m *words) Update(entries []rsm.Entry) error {
	for i := range entries {
		m.list = append(m.list, string(entries[i].Command))
		m.updated++
		entries[i].Result = rsm.Result{Value: uint64(len(m.list))}
	}
	return nil
}

func (m *words) Lookup(any) (any, error) { return slices.Clone(m.list), nil }
func (m *words) Close() error            { return nil }

func (m *words) Save(_ context.Context, to rsm.SnapshotWriter) error { return m.write(m.list, to) }

func (m *words) write(list []string, to rsm.SnapshotWriter) error {
	m.saves++
	if err := call(m.hooks.save); err != nil {
		return err
	}
	for _, word := range list {
		if m.hooks.inSave != nil {
			m.hooks.inSave()
		}
		if _, err := to.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(word))), word...)); err != nil {
			return err
		}
	}
	return nil
}

func (m *words) Recover(_ context.Context, from rsm.SnapshotReader) error {
	m.list = nil
	for {
		var length [4]byte
		if _, err := io.ReadFull(from, length[:]); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		word := make([]byte, binary.LittleEndian.Uint32(length[:]))
		if _, err := io.ReadFull(from, word); err != nil {
			return err
		}
		m.list = append(m.list, string(word))
	}
	m.recovered = len(m.list)
	return call(m.hooks.recover)
}

// concurrentWords is saved beside Updates.
type concurrentWords struct{ words }

// Save hides that of words, which would make it a Snapshotter.
func (m *concurrentWords) Save() {}

func (m *concurrentWords) Prepare() (rsm.View, error) {
	return &wordsView{&m.words, slices.Clone(m.list)}, call(m.hooks.prepare)
}

type wordsView struct {
	m    *words
	list []string
}

func (v *wordsView) Save(_ context.Context, to rsm.SnapshotWriter) error {
	return v.m.write(v.list, to)
}
func (v *wordsView) Close() error { return nil }

// platter is the disk of a diskWords: what was synced, and what was not.
type platter struct {
	synced, written     []string
	syncedAt, writtenAt uint64
	syncs, opens        int
}

// crash forgets what was not synced.
func (p *platter) crash() { p.written, p.writtenAt = slices.Clone(p.synced), p.syncedAt }

// diskWords keeps its words on a platter.
type diskWords struct {
	concurrentWords
	disk *platter
}

func (m *diskWords) Open(context.Context) (uint64, error) {
	m.disk.opens++
	m.list = slices.Clone(m.disk.written)
	return m.disk.writtenAt, call(m.hooks.open)
}

func (m *diskWords) Update(entries []rsm.Entry) error {
	err := m.words.Update(entries)
	m.disk.written, m.disk.writtenAt = slices.Clone(m.list), entries[len(entries)-1].Index
	return err
}

func (m *diskWords) Sync() error {
	if err := call(m.hooks.sync); err != nil {
		return err
	}
	m.disk.syncs++
	m.disk.synced, m.disk.syncedAt = slices.Clone(m.disk.written), m.disk.writtenAt
	return nil
}

// snapshotHost is a cluster of hosts that keep snapshots, each on a file system of its own that can lose its power.
type snapshotHost struct {
	*testCluster
	*hooks
	kind      rsm.Kind
	policy    engine.SnapshotPolicy
	fs        *vfs.MemFS
	files     vfs.FS // fs, or what a test has wrapped round it
	directory *snapshot.Directory
	disk      *platter
	options   func(*engine.Options)
	routines  *coroutines
}

// newSnapshotHost makes a single host with one shard, led here.
func newSnapshotHost(t testing.TB, kind rsm.Kind, policy engine.SnapshotPolicy, options func(*engine.Options)) *snapshotHost {
	s := &snapshotHost{kind: kind, policy: policy, fs: vfs.NewCrashableMem(), hooks: &hooks{}, disk: &platter{}, options: options}
	s.files = s.fs
	s.testCluster = newTestCluster(t, 1, s.change)
	s.startReplica(1)
	s.waitLeader(1)
	return s
}

// besideOthers runs the workers that call the state machine as coroutines from now on.
func (s *snapshotHost) besideOthers() {
	s.routines = newCoroutines()
	s.hosts[0].beside = s.routines
	s.t.Cleanup(s.routines.end)
}

func (s *snapshotHost) change(o *engine.Options) {
	directory, err := snapshot.OpenDirectory(s.files, "snapshots")
	if err != nil {
		s.t.Fatal(err)
	}
	s.directory, o.Snapshots = directory, directory
	if s.routines != nil {
		o.Yield = s.routines.hand
	}
	if s.options != nil {
		s.options(o)
	}
}

func (s *snapshotHost) factory(uint64, uint64) (rsm.StateMachine, error) {
	s.made++
	w := words{hooks: s.hooks}
	switch s.kind {
	case rsm.KindConcurrent:
		m := &concurrentWords{w}
		s.newest = &m.words
		return m, nil
	case rsm.KindOnDisk:
		m := &diskWords{concurrentWords{w}, s.disk}
		s.newest = &m.words
		return m, nil
	}
	s.newest = &w
	return s.newest, nil
}

// tryStart starts a shard and returns what came of it.
func (s *snapshotHost) tryStart(shard uint64) (r *engine.Replica, err error) {
	open := true
	s.hosts[0].engine.StartReplica(engine.ReplicaOptions{
		ShardID: shard, ReplicaID: 1, Members: s.members(), Snapshots: s.policy,
	}, s.factory, func(started *engine.Replica, e error) { r, err, open = started, e, false })
	s.until(time.Minute, "start", func() bool { return !open })
	return r, err
}

func (s *snapshotHost) startReplica(shard uint64) {
	s.t.Helper()
	r, err := s.tryStart(shard)
	if err != nil {
		s.t.Fatal(err)
	}
	s.hosts[0].replicas[shard] = r
}

// fill proposes words from..to.
func (s *snapshotHost) fill(from, to int) {
	s.t.Helper()
	for i := from; i <= to; i++ {
		if _, err := s.propose(s.hosts[0], 1, wordOf(i)); err != nil {
			s.t.Fatal(err)
		}
	}
}

func wordOf(i int) string { return fmt.Sprintf("word %03d", i) }

func wordsTo(n int) (list []string) {
	for i := 1; i <= n; i++ {
		list = append(list, wordOf(i))
	}
	return list
}

// take takes a snapshot by hand and lets everything that follows from it happen.
func (s *snapshotHost) take(shard uint64) (index uint64, err error) {
	s.t.Helper()
	open := true
	s.hosts[0].replicas[shard].Snapshot(func(i uint64, e error) { index, err, open = i, e, false })
	s.until(time.Minute, "snapshot", func() bool { return !open })
	s.run(20 * time.Millisecond)
	return index, err
}

func (s *snapshotHost) mustTake() uint64 {
	s.t.Helper()
	index, err := s.take(1)
	if err != nil {
		s.t.Fatal(err)
	}
	return index
}

// powerCut loses everything that was not synced, the engine included, and makes a new one.
func (s *snapshotHost) powerCut() {
	h := s.hosts[0]
	s.crashInto(s.fs.CrashClone(vfs.CrashCloneCfg{}), h.log.Crash(func(int) int { return 0 }))
}

// crashInto goes on with what a crash has left.
func (s *snapshotHost) crashInto(fs *vfs.MemFS, log *modellog.Log) {
	h := s.hosts[0]
	_ = h.transport.Close()
	s.fs, s.files = fs, fs
	h.log = log
	h.log.SetAutomatic(true)
	s.disk.crash()
	h.open(s.change)
}

// restart stops the replica in order and starts it again on the same engine.
func (s *snapshotHost) restart() {
	s.t.Helper()
	s.stopReplica()
	s.startReplica(1)
}

func (s *snapshotHost) stopReplica() {
	s.t.Helper()
	open := true
	s.hosts[0].engine.StopReplica(s.hosts[0].replicas[1], func(err error) {
		if open = false; err != nil {
			s.t.Errorf("stop: %v", err)
		}
	})
	s.until(time.Minute, "stop", func() bool { return !open })
	delete(s.hosts[0].replicas, 1)
}

// state waits until a read is served, and returns what it finds.
func (s *snapshotHost) state() (list []string) {
	s.t.Helper()
	open := true
	s.until(time.Minute, "read", func() bool {
		if open {
			err := s.hosts[0].replicas[1].Read(nil, func(value any, err error) {
				if err == nil {
					list, open = value.([]string), false
				}
			})
			if err != nil {
				s.t.Fatal(err)
			}
			s.run(10 * time.Millisecond)
		}
		return !open
	})
	return list
}

func (s *snapshotHost) wantState(n int) {
	s.t.Helper()
	if list := s.state(); !slices.Equal(list, wordsTo(n)) {
		s.t.Fatalf("%d words, want %d: %q", len(list), n, list)
	}
}

func (s *snapshotHost) compacted() uint64 {
	stored, err := s.hosts[0].log.Load(logdb.ReplicaKey{ShardID: 1, ReplicaID: 1})
	if err != nil {
		s.t.Fatal(err)
	}
	return stored.Compacted
}

func (s *snapshotHost) list() []snapshot.Name { return s.directory.List(1, 1) }

func (s *snapshotHost) eventsOf(kind engine.EventKind) (found []engine.Event) {
	for _, event := range s.events {
		if event.Kind == kind {
			found = append(found, event)
		}
	}
	return found
}

func groupsOf(groups ...logdb.Group) []logdb.Group { return groups }

// writeSnapshotFile writes a snapshot of one word, as a replica would have taken it in a term.
func writeSnapshotFile(t testing.TB, to io.Writer, name snapshot.Name, taker, term uint64) {
	t.Helper()
	writer, err := snapshot.NewWriter(to, raftpb.SnapshotMeta{
		ShardID: name.ShardID, ReplicaID: taker, Index: name.Index, Term: term, Kind: raftpb.SnapshotMemory,
	}, snapshot.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.State(); err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Close(); err != nil {
		t.Fatal(err)
	}
}
