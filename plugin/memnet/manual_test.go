package memnet

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// node is a host that writes down what it is told, for one goroutine.
type node struct {
	*Host
	address string
	chunk   uint64
	trace   *[]string
	seen    []uint64 // numbers of received messages
	downs   []error
	ups     int
	answer  func(n *node, from string, m raftpb.Message)
}

func (n *node) NewChunk(size int) transport.Chunk {
	n.chunk++
	return transport.Chunk{Number: n.chunk, Bytes: make([]byte, size)}
}

func (n *node) Receive(from transport.HostIdentity, lane transport.Lane, messages []raftpb.Message) {
	for _, m := range messages {
		*n.trace = append(*n.trace, fmt.Sprintf("%s<-%s %v %d", n.address, from.Address, lane, m.Request))
		n.seen = append(n.seen, m.Request)
		if n.answer != nil {
			n.answer(n, from.Address, m)
		}
	}
}

func (n *node) PeerUp(address string, lane transport.Lane, _ transport.HostIdentity) {
	n.ups++
	*n.trace = append(*n.trace, fmt.Sprintf("%s up %s %v", n.address, address, lane))
}

func (n *node) PeerDown(address string, lane transport.Lane, err error) {
	n.downs = append(n.downs, err)
	*n.trace = append(*n.trace, fmt.Sprintf("%s down %s %v %v", n.address, address, lane, err))
}

// world is a manual network with hosts a, b, c ...
type world struct {
	*Network
	nodes []*node
	trace []string
	now   int64
}

func newWorld(t rapid.TB, options Options, hosts int) *world {
	t.Helper()
	network, err := NewNetwork(options)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Network: network}
	for i := range hosts {
		w.add(t, i, 1)
	}
	return w
}

func (w *world) add(t rapid.TB, i int, epoch uint64) *node {
	t.Helper()
	n := &node{address: string(rune('a' + i)), trace: &w.trace}
	n.Host = w.Host(transport.HostIdentity{Deployment: "d", HostID: uint64(i) + 1, Epoch: epoch, Address: n.address})
	if err := n.Start(n); err != nil {
		t.Fatal(err)
	}
	if i < len(w.nodes) {
		w.nodes[i] = n
	} else {
		w.nodes = append(w.nodes, n)
	}
	return n
}

// settle goes from one due instant to the next until nothing is under way.
func (w *world) settle(t rapid.TB) {
	t.Helper()
	for range 1_000_000 {
		_, next := w.RunOnce(w.now)
		if next == Never {
			return
		}
		w.now = max(w.now, next)
	}
	t.Fatal("the network does not come to rest")
}

func (w *world) send(from, to int, lane transport.Lane, numbers ...uint64) int {
	var messages []raftpb.Message
	for _, number := range numbers {
		messages = append(messages, ping(number))
	}
	return w.nodes[from].Peer(w.nodes[to].address).Send(lane, messages)
}

func ping(number uint64) raftpb.Message {
	return raftpb.Message{Type: raftpb.MessageHeartbeat, ShardID: 7, From: 1, To: 2, Request: number}
}

// Same seed, same run; another seed, another one. With every fault at once, over three hosts that answer each other.
func TestRunsDependOnTheSeedOnly(t *testing.T) {
	run := func(seed uint64) []string {
		w := newWorld(t, Options{Seed: seed, Faults: Faults{
			DelayMax: 5 * time.Millisecond, Loss: 0.05, Reorder: 0.2, Duplicate: 0.1,
		}}, 3)
		for _, n := range w.nodes {
			n.answer = func(n *node, from string, m raftpb.Message) {
				if m.Request < 1000 {
					n.Peer(from).Send(transport.LaneBulk, []raftpb.Message{ping(m.Request + 1000)})
				}
			}
		}
		for i := range uint64(100) {
			for from := range w.nodes {
				w.send(from, (from+1)%3, transport.LaneControl, i)
				w.send(from, (from+2)%3, transport.LaneBulk, i, i+100)
			}
			switch i {
			case 40:
				w.BreakConnection("a", "b")
			case 50:
				w.SetPartitioned("b", "c", true)
			case 70:
				w.SetPartitioned("b", "c", false)
				_ = w.nodes[2].Close()
				w.add(t, 2, 2)
			}
			w.RunOnce(w.now)
			w.now += time.Millisecond.Nanoseconds()
		}
		w.settle(t)
		return w.trace
	}
	before := runtime.NumGoroutine()
	first := run(1)
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("manual mode started %d goroutines", after-before)
	}
	if !slices.Equal(first, run(1)) {
		t.Error("two runs of one seed differ")
	}
	if slices.Equal(first, run(2)) {
		t.Error("another seed gives the same run")
	}
}

// What is due at once on several links comes in an order that the seed decides; each link keeps its own.
func TestOrderAmongLinksDependsOnTheSeed(t *testing.T) {
	run := func(seed uint64) []uint64 {
		w := newWorld(t, Options{Seed: seed}, 4)
		for i := range uint64(5) {
			for from := range uint64(3) {
				w.send(int(from), 3, transport.LaneBulk, 10*from+i)
			}
		}
		w.settle(t)
		return w.nodes[3].seen
	}
	orders := make(map[string]bool)
	for seed := range uint64(10) {
		got := run(seed)
		orders[fmt.Sprint(got)] = true
		slices.SortStableFunc(got, func(x, y uint64) int { return int(x/10) - int(y/10) })
		if !slices.IsSorted(got) {
			t.Errorf("seed %d: a link lost its order: %v", seed, got)
		}
	}
	if len(orders) < 5 {
		t.Errorf("10 seeds give %d orders", len(orders))
	}
}

// Nothing is done before its time, and the returned instant is exactly when the next thing is.
func TestRunOnceKeepsTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		least := rapid.Int64Range(0, 1000).Draw(t, "least")
		faults := Faults{DelayMin: time.Duration(least), DelayMax: time.Duration(least + rapid.Int64Range(0, 1000).Draw(t, "spread"))}
		w := newWorld(t, Options{Seed: rapid.Uint64().Draw(t, "seed"), Faults: faults}, 2)
		w.send(0, 1, transport.LaneBulk, 0)
		w.RunOnce(0)
		if faults.DelayMin > 0 && len(w.nodes[1].seen) > 0 {
			t.Fatal("delivered before the least delay")
		}
		for i := range uint64(20) {
			w.send(0, 1, transport.LaneBulk, i+1)
			if rapid.Bool().Draw(t, "run") {
				w.now += rapid.Int64Range(0, 500).Draw(t, "step")
				w.RunOnce(w.now)
			}
		}
		for {
			n, next := w.RunOnce(w.now)
			if next == Never {
				break
			}
			if next > w.now {
				if n, again := w.RunOnce(next - 1); n != 0 || again != next {
					t.Fatalf("just before %d: %d delivered, next %d", next, n, again)
				}
			} else if n == 0 {
				t.Fatalf("at %d nothing was done and more is due at %d", w.now, next)
			}
			w.now = max(w.now, next)
		}
		if want := w.nodes[1].seen; len(want) != 21 || !slices.IsSorted(want) {
			t.Fatalf("received %v, want 0 to 20 in order", want)
		}
	})
}

// Hosts that answer at once take turns with the caller: what they send waits for the next call.
func TestRunOnceEnds(t *testing.T) {
	w := newWorld(t, Options{}, 2)
	for _, n := range w.nodes {
		n.answer = func(n *node, from string, m raftpb.Message) {
			n.Peer(from).Send(transport.LaneControl, []raftpb.Message{ping(m.Request + 1)})
		}
	}
	w.send(0, 1, transport.LaneControl, 0)
	w.send(1, 0, transport.LaneControl, 0)
	for range 100 {
		if n, next := w.RunOnce(0); n == 0 || n > 4 || next > 0 {
			t.Fatalf("%d delivered, next %d", n, next)
		}
	}
}

func TestFaults(t *testing.T) {
	const count = 200
	numbers := func(w *world) {
		for i := range uint64(count) {
			w.send(0, 1, transport.LaneBulk, i)
		}
		w.settle(t)
	}
	connected := func(faults Faults) *world {
		w := newWorld(t, Options{Seed: 1}, 2)
		w.send(0, 1, transport.LaneBulk)
		w.send(0, 1, transport.LaneBulk, 1<<20)
		w.settle(t)
		w.nodes[1].seen = nil
		if err := w.SetFaults("a", "b", faults); err != nil {
			t.Fatal(err)
		}
		return w
	}
	t.Run("Loss", func(t *testing.T) {
		w := connected(Faults{Loss: 0.5})
		numbers(w)
		if got := w.nodes[1].seen; len(got) < count/4 || len(got) > 3*count/4 || !slices.IsSorted(got) {
			t.Errorf("received %d of %d, sorted %v", len(got), count, slices.IsSorted(got))
		}
	})
	t.Run("Reorder", func(t *testing.T) {
		w := connected(Faults{DelayMax: time.Millisecond, Reorder: 0.5})
		numbers(w)
		got := slices.Clone(w.nodes[1].seen)
		if slices.IsSorted(got) {
			t.Error("nothing was reordered")
		}
		if slices.Sort(got); len(got) != count || len(slices.Compact(got)) != count {
			t.Errorf("received %d different messages of %d", len(slices.Compact(got)), count)
		}
	})
	t.Run("Duplicate", func(t *testing.T) {
		w := connected(Faults{DelayMax: time.Millisecond, Duplicate: 1})
		numbers(w)
		got := slices.Clone(w.nodes[1].seen)
		if slices.Sort(got); len(got) != 2*count || len(slices.Compact(got)) != count {
			t.Errorf("received %d messages", len(got))
		}
	})
	t.Run("OneWayPartition", func(t *testing.T) {
		w := connected(Faults{Partitioned: true})
		numbers(w)
		if len(w.nodes[1].seen) != 0 || len(w.nodes[0].downs) != 0 {
			t.Errorf("received %d, told of %v", len(w.nodes[1].seen), w.nodes[0].downs)
		}
		if err := w.SetFaults("a", "b", Faults{}); err != nil {
			t.Fatal(err)
		}
		w.SetPartitioned("b", "a", true) // the other way does not matter to a connection that exists
		numbers(w)
		if len(w.nodes[1].seen) != count {
			t.Errorf("received %d of %d after healing", len(w.nodes[1].seen), count)
		}
	})
	t.Run("PartitionCutsWhatIsUnderWay", func(t *testing.T) {
		w := connected(Faults{DelayMin: time.Millisecond, DelayMax: time.Millisecond})
		w.send(0, 1, transport.LaneBulk, 1)
		w.SetPartitioned("a", "b", true)
		w.settle(t)
		if len(w.nodes[1].seen) != 0 {
			t.Error("delivered through a partition")
		}
	})
}

// A connection cannot be made across a partition in either direction, and is made once it heals and somebody sends.
func TestPartitionPreventsConnecting(t *testing.T) {
	for _, direction := range [][2]string{{"a", "b"}, {"b", "a"}} {
		w := newWorld(t, Options{}, 2)
		w.SetPartitioned(direction[0], direction[1], true)
		w.send(0, 1, transport.LaneControl, 1)
		w.settle(t)
		if a := w.nodes[0]; a.ups != 0 || len(a.downs) != 1 || !errors.Is(a.downs[0], errUnreachable) {
			t.Errorf("%v: ups %d, downs %v", direction, a.ups, a.downs)
		}
		if w.send(0, 1, transport.LaneControl, 2) != 0 {
			t.Error("a lane that is down took a message")
		}
		w.SetPartitioned(direction[0], direction[1], false)
		w.settle(t)
		if w.nodes[0].ups != 1 || w.send(0, 1, transport.LaneControl, 3) != 1 {
			t.Error("not connected after healing")
		}
		if w.settle(t); !slices.Equal(w.nodes[1].seen, []uint64{3}) {
			t.Errorf("received %v, want only what was taken after the connection was made", w.nodes[1].seen)
		}
	}
}

// A broken connection loses what is under way, is reported once for each lane, and is made again on demand.
func TestBreakConnection(t *testing.T) {
	w := newWorld(t, Options{Faults: Faults{DelayMin: time.Millisecond, DelayMax: time.Millisecond}}, 2)
	for lane := range transport.LaneCount {
		w.send(0, 1, lane, 1)
	}
	w.settle(t)
	w.send(0, 1, transport.LaneBulk, 2)
	w.BreakConnection("a", "b")
	if w.send(0, 1, transport.LaneBulk, 3) != 0 {
		t.Error("a broken lane took a message")
	}
	w.settle(t)
	if len(w.nodes[0].downs) != 3 || len(w.nodes[1].downs) != 0 || w.nodes[0].ups != 4 {
		t.Errorf("a: %d ups, downs %v; b: downs %v", w.nodes[0].ups, w.nodes[0].downs, w.nodes[1].downs)
	}
	w.send(0, 1, transport.LaneBulk, 4)
	if w.settle(t); !slices.Equal(w.nodes[1].seen, []uint64{1, 1, 1, 4}) {
		t.Errorf("received %v", w.nodes[1].seen)
	}
	if got := w.nodes[0].Peer("b").Counters(); got.Disconnects != 3 || got.MessagesRefused != 1 {
		t.Errorf("counters %+v", got)
	}
}

// A message that the codec refuses ends its connection as a bad frame does, and is counted by the receiver.
func TestBadMessageEndsItsConnection(t *testing.T) {
	w := newWorld(t, Options{}, 2)
	w.nodes[0].Peer("b").Send(transport.LaneBulk, []raftpb.Message{{Type: raftpb.MessageHeartbeat}})
	w.settle(t)
	if a := w.nodes[0]; len(a.downs) != 1 || !errors.Is(a.downs[0], transport.ErrFrame) {
		t.Errorf("downs %v", a.downs)
	}
	if got := w.nodes[1].Peer("a").Counters(); got.BadFrames != 1 {
		t.Errorf("counters %+v", got)
	}
}

func TestOptionsFaults(t *testing.T) {
	for _, c := range []struct {
		text    string
		options Options
	}{
		{"Loss is 2", Options{Faults: Faults{Loss: 2}}},
		{"Reorder is -1", Options{Faults: Faults{Reorder: -1}}},
		{"Duplicate is 1.5", Options{Faults: Faults{Duplicate: 1.5}}},
		{"DelayMin 2s", Options{Faults: Faults{DelayMin: 2 * time.Second, DelayMax: time.Second}}},
		{"DelayMin -1ns", Options{Faults: Faults{DelayMin: -1}}},
		{"ControlQueueBytes", Options{ControlQueueBytes: -1}},
		{"BulkQueueBytes", Options{BulkQueueBytes: -1}},
		{"SnapshotQueueBytes", Options{SnapshotQueueBytes: -1}},
		{"ReconnectPause", Options{ReconnectPause: -1}},
	} {
		if _, err := NewNetwork(c.options); !errors.Is(err, transport.ErrConfig) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%v, want ErrConfig with %q", err, c.text)
		}
	}
	w := newWorld(t, Options{}, 1)
	if err := w.SetFaults("a", "b", Faults{Loss: 7}); !errors.Is(err, transport.ErrConfig) {
		t.Errorf("SetFaults: %v", err)
	}
	second := w.Host(transport.HostIdentity{Deployment: "d", HostID: 9, Epoch: 1, Address: "a"})
	if err := second.Start(w.nodes[0]); !errors.Is(err, transport.ErrConfig) {
		t.Errorf("Start at a taken address: %v", err)
	}
}

// The queue keeps (due, sequence) order whatever comes when.
func TestPacketQueueAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var queue packetQueue
		var model []packet
		for sequence := range uint64(rapid.IntRange(0, 400).Draw(t, "steps")) {
			if len(model) > 0 && rapid.IntRange(0, 2).Draw(t, "take") > 0 {
				got := queue.take()
				if got.due != model[0].due || got.sequence != model[0].sequence {
					t.Fatalf("took %+v, want %+v", got, model[0])
				}
				model = model[1:]
			} else {
				p := packet{due: rapid.Int64Range(0, 20).Draw(t, "due"), sequence: sequence}
				queue.insert(p)
				model = append(model, p)
				slices.SortStableFunc(model, func(x, y packet) int { return int(x.due - y.due) })
			}
			if queue.len() != len(model) {
				t.Fatalf("length %d, want %d", queue.len(), len(model))
			}
		}
	})
}

// In the steady state a message through the network costs its share of the receiver's chunk and nothing else.
func TestHeartbeatsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("allocation budgets hold without the race detector")
	}
	w := newWorld(t, Options{}, 2)
	quiet := &silent{}
	target := w.Host(transport.HostIdentity{Deployment: "d", HostID: 9, Epoch: 1, Address: "z"})
	if err := target.Start(quiet); err != nil {
		t.Fatal(err)
	}
	p := w.nodes[0].Peer("z")
	messages := []raftpb.Message{ping(1), ping(2), ping(3)}
	round := func() {
		p.Send(transport.LaneControl, messages)
		w.RunOnce(0)
	}
	round()
	round()
	if got := testing.AllocsPerRun(500, round); got > 0 {
		t.Errorf("%v allocations per Send and delivery", got)
	}
	if quiet.received == 0 {
		t.Error("nothing arrived")
	}
}

type silent struct{ received int }

func (s *silent) NewChunk(size int) transport.Chunk {
	return transport.Chunk{Number: 1, Bytes: make([]byte, size)}
}
func (s *silent) Receive(_ transport.HostIdentity, _ transport.Lane, messages []raftpb.Message) {
	s.received += len(messages)
}
func (s *silent) PeerUp(string, transport.Lane, transport.HostIdentity) {}
func (s *silent) PeerDown(string, transport.Lane, error)                {}
