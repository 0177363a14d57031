package rsm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// call is one entry of a log with sessions; client 0 is none.
type call struct {
	client, series, responded uint64
	command                   string
}

// answer is what becomes of an entry.
type answer struct {
	err   error
	value uint64
	data  string
}

// naive does what a sessionTable does, the short way.
type naive struct {
	commands []string
	order    []uint64 // clients by last use
	sessions map[uint64]*naiveSession
}

type naiveSession struct {
	responded uint64
	answers   map[uint64]answer
}

func (n *naive) apply(c call) answer {
	run := func() answer {
		n.commands = append(n.commands, c.command)
		return answer{value: uint64(len(n.commands)), data: c.command}
	}
	drop := func(client uint64) {
		delete(n.sessions, client)
		n.order = slices.DeleteFunc(n.order, func(other uint64) bool { return other == client })
	}
	if c.client == 0 {
		return run()
	}
	if c.series == SeriesOpen {
		capacity, _ := binary.Uvarint([]byte(c.command))
		if n.sessions[c.client] != nil || capacity == 0 {
			return answer{err: ErrBadSession}
		}
		n.sessions[c.client] = &naiveSession{answers: map[uint64]answer{}}
		n.order = append(n.order, c.client)
		for uint64(len(n.order)) > capacity {
			drop(n.order[0])
		}
		return answer{}
	}
	s := n.sessions[c.client]
	if c.series == SeriesClose {
		drop(c.client)
		return answer{}
	}
	if s == nil {
		return answer{err: ErrSessionExpired}
	}
	n.order = append(slices.DeleteFunc(n.order, func(other uint64) bool { return other == c.client }), c.client)
	s.responded = max(s.responded, c.responded)
	for series := range s.answers {
		if series <= s.responded {
			delete(s.answers, series)
		}
	}
	switch kept, there := s.answers[c.series]; {
	case c.series <= s.responded:
		return answer{err: ErrCallForgotten}
	case c.series > s.responded+MaxSessionWindow:
		return answer{err: ErrSessionWindow}
	case there:
		return kept
	}
	s.answers[c.series] = run()
	return s.answers[c.series]
}

// drawCall draws an entry of few clients and few calls, so that calls repeat, sessions run out of place, and old ones come late.
func drawCall(t *rapid.T) call {
	client := rapid.Uint64Range(0, 5).Draw(t, "client")
	if client == 0 {
		return call{command: rapid.StringN(0, 5, 8).Draw(t, "command")}
	}
	c := call{client: client, command: rapid.StringN(0, 5, 8).Draw(t, "command")}
	switch rapid.IntRange(0, 20).Draw(t, "what") {
	case 0, 1, 2, 3:
		c.series, c.command = SeriesOpen, string(RegisterCommand(rapid.IntRange(0, 4).Draw(t, "capacity")))
		return c
	case 4:
		c.series = SeriesClose
		return c
	case 5:
		c.series = rapid.Uint64Range(MaxSessionWindow-3, MaxSessionWindow+30).Draw(t, "far series")
	default:
		c.series = rapid.Uint64Range(1, 24).Draw(t, "series")
	}
	c.responded = rapid.Uint64Range(0, c.series-1).Draw(t, "responded")
	if rapid.Bool().Draw(t, "nothing acknowledged") {
		c.responded = 0
	}
	return c
}

// batchOfCalls seals calls, as a plain batch if none has a session and sometimes with empty fields then.
func batchOfCalls(term, first uint64, calls []call, fields bool) raftpb.Batch {
	var plain raftpb.Builder
	var sessions raftpb.SessionBuilder
	plain.Reset(nil)
	sessions.Reset(nil)
	for _, c := range calls {
		fields = fields || c.client != 0
		plain.Add([]byte(c.command))
		sessions.Add(raftpb.SessionFields{Client: c.client, Series: c.series, Responded: c.responded}, []byte(c.command))
	}
	origin := raftpb.Origin{Replica: 1, Session: 1, Sequence: 1}
	batch := plain.Seal(1, raftpb.KindCommands, origin, 0)
	if fields {
		batch = sessions.Seal(1, raftpb.KindCommands, origin, 0)
	}
	batch.Stamp(term, first)
	return batch
}

func answersOf(turn *Turn) []answer {
	var answers []answer
	for i := range turn.Entries() {
		result := turn.Entries()[i].Result
		a := answer{value: result.Value, data: string(result.Data)}
		if errs := turn.Errs(); errs != nil && errs[i] != nil {
			a.err = errs[i]
		}
		answers = append(answers, a)
	}
	return answers
}

func sameAnswer(got, want answer) bool {
	return errors.Is(got.err, want.err) && (got.err == nil) == (want.err == nil) && got.value == want.value && got.data == want.data
}

// snapshotOf saves a manager's state through the real file format.
func snapshotOf(t interface{ Fatal(...any) }, m *Manager) []byte {
	image, err := m.Prepare(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	meta := image.Meta()
	meta.ShardID, meta.ReplicaID = 1, 1
	var file bytes.Buffer
	writer, err := snapshot.NewWriter(&file, meta, snapshot.WriterOptions{BlockBytes: 100})
	if err != nil {
		t.Fatal(err)
	}
	if err := image.Save(context.Background(), writer); err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func recoverFrom(m *Manager, file []byte) error {
	reader, err := snapshot.NewReader(bytes.NewReader(file))
	if err != nil {
		return err
	}
	return m.Recover(context.Background(), reader)
}

// makers make the kinds of state machines that keep sessions. A disk outlives them.
var makers = map[string]func(d *disk) StateMachine{
	"memory":     func(*disk) StateMachine { return &memoryMachine{} },
	"concurrent": func(*disk) StateMachine { return &concurrentMachine{} },
	"on disk":    func(d *disk) StateMachine { return &keeperMachine{diskMachine: diskMachine{disk: d}} },
}

// Whatever the log holds, however it is cut into batches and turns, restarted, and taken to another replica by snapshot: every
// entry gets the answer that a naive model gives it, and the state machine sees each call once. It found once that what a machine comes up with was
// taken for synced, though a killed process may have left it in the page cache.
func TestSessionsAgreeWithANaiveModel(t *testing.T) {
	for _, name := range []string{"memory", "concurrent", "on disk"} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { newReplica(t, makers[name]).run() })
		})
	}
}

// replica applies a log that is drawn as it goes, and goes through what a replica goes through.
type replica struct {
	t       *rapid.T
	make    func(*disk) StateMachine
	disk    *disk
	machine StateMachine
	manager *Manager
	model   naive
	log     []call
	answers []answer // by index-1, of the model
}

func newReplica(t *rapid.T, maker func(*disk) StateMachine) *replica {
	r := &replica{t: t, make: maker, disk: newDisk(), model: naive{sessions: map[uint64]*naiveSession{}}}
	r.open()
	return r
}

func (r *replica) open() {
	r.machine = r.make(r.disk)
	manager, err := OpenManager(context.Background(), r.machine)
	if err != nil {
		r.t.Fatal(err)
	}
	r.manager = manager
	if opened := manager.Opened(); opened > 0 {
		index, term := opened, uint64(7)
		if rapid.Bool().Draw(r.t, "from the beginning of the log") {
			index, term = 0, 0
		}
		if err := manager.StartAt(index, term, raftpb.ConfigRecord{}); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *replica) run() {
	for range rapid.IntRange(1, 12).Draw(r.t, "steps") {
		switch rapid.IntRange(0, 9).Draw(r.t, "step") {
		case 0:
			r.restart()
		case 1:
			r.move()
		case 2:
			if err := r.manager.Sync(); err != nil {
				r.t.Fatal(err)
			}
		default:
			r.grow()
		}
		r.replay()
		if got := commandsOf(r.machine); !slices.Equal(got, r.model.commands) {
			r.t.Fatalf("the state machine has %q, the model %q", got, r.model.commands)
		}
	}
}

func (r *replica) grow() {
	for _, c := range rapid.SliceOfN(rapid.Custom(drawCall), 1, 30).Draw(r.t, "calls") {
		r.log = append(r.log, c)
		r.answers = append(r.answers, r.model.apply(c))
	}
}

// restart crashes the replica: one in memory has lost everything, one on disk comes back as it was at or after its last sync.
func (r *replica) restart() {
	synced := r.manager.SyncedIndex()
	r.disk.crash(rapid.IntRange(0, 3).Draw(r.t, "states lost"))
	r.open()
	if opened := r.manager.Opened(); opened < synced {
		r.t.Fatalf("came up at %d, synced was %d", opened, synced)
	}
}

// move takes the state to a new replica by a snapshot.
func (r *replica) move() {
	if image, err := r.manager.Prepare(context.Background()); errors.Is(err, ErrNothingApplied) {
		return
	} else if err == nil {
		image.Close()
	}
	file := snapshotOf(r.t, r.manager)
	r.disk = newDisk()
	r.open()
	if err := recoverFrom(r.manager, file); err != nil {
		r.t.Fatal(err)
	}
	if err := r.manager.Sync(); err != nil {
		r.t.Fatal(err)
	}
}

// replay applies what is left of the log in turns of batches, and compares the answers of what was not applied before.
func (r *replica) replay() {
	turn := new(Turn)
	for int(r.manager.Applied()) < len(r.log) {
		first := r.manager.Applied() + 1
		turn.Reset()
		next := first
		for range rapid.IntRange(1, 3).Draw(r.t, "batches") {
			size := min(rapid.IntRange(1, 8).Draw(r.t, "size"), len(r.log)-int(next-1))
			if size == 0 {
				break
			}
			batch := batchOfCalls(7, next, r.log[next-1:int(next-1)+size], rapid.Bool().Draw(r.t, "fields"))
			if err := r.manager.Add(turn, batch); err != nil {
				r.t.Fatal(err)
			}
			next += uint64(size)
		}
		if err := r.manager.Apply(turn); err != nil {
			r.t.Fatal(err)
		}
		for i, got := range answersOf(turn) {
			index := first + uint64(i)
			if index > r.manager.Opened() && !sameAnswer(got, r.answers[index-1]) {
				r.t.Fatalf("entry %d %+v: %+v, want %+v", index, r.log[index-1], got, r.answers[index-1])
			}
		}
		r.checkLinks()
	}
}

// checkLinks holds the table's list against its map.
func (r *replica) checkLinks() {
	table, n := &r.manager.sessions, 0
	for s := table.oldest; s != nil; s = s.newer {
		n++
		if table.byClient[s.client] != s || s.newer != nil && s.newer.lastUse <= s.lastUse {
			r.t.Fatal(fmt.Sprint("client ", s.client, " is out of place"))
		}
	}
	if n != table.len() {
		r.t.Fatalf("%d sessions in the list, %d in the map", n, table.len())
	}
}
