package nodehost_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// laneShards are enough for each of two lanes to have some.
var laneShards = []uint64{1, 2, 3, 4, 5, 6, 7, 8}

// laneWatch notes what the first host says of its replicas, what it is asked for, and what it should not say.
type laneWatch struct {
	mu                       sync.Mutex
	abstained, healed, asked map[uint64]int    // by shard
	lost                     map[uint64]uint64 // the incarnations that lost what they promised
	voted                    []string          // what those said all the same
}

func (w *laneWatch) note(into map[uint64]int, shard uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	into[shard]++
}

func (w *laneWatch) count(of map[uint64]int, shard uint64) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return of[shard]
}

func (w *laneWatch) votes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.voted)
}

// sent notes votes of those that lost something: for others, and for themselves.
func (w *laneWatch) sent(m *raftpb.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost[m.ShardID] != m.FromIncarnation || m.FromIncarnation == 0 {
		return
	}
	switch m.Type {
	case raftpb.MessagePreVoteResponse, raftpb.MessageVoteResponse:
		if m.Reason != raftpb.ReasonNone {
			return
		}
	case raftpb.MessagePreVote, raftpb.MessageVote:
	default:
		return
	}
	w.voted = append(w.voted, fmt.Sprintf("shard %d, to %d: %v in term %d", m.ShardID, m.To, m.Type, m.Term))
}

// watchedTransport is that of the first host.
type watchedTransport struct {
	transport.Transport
	watch *laneWatch
}

type watchedPeer struct {
	transport.Peer
	watch *laneWatch
}

type watchedHandler struct {
	transport.Handler
	watch *laneWatch
}

func (t watchedTransport) Start(handler transport.Handler) error {
	return t.Transport.Start(watchedHandler{handler, t.watch})
}

func (t watchedTransport) Peer(address string) transport.Peer {
	return watchedPeer{t.Transport.Peer(address), t.watch}
}

func (p watchedPeer) Send(lane transport.Lane, messages []raftpb.Message) int {
	for i := range messages {
		p.watch.sent(&messages[i])
	}
	return p.Peer.Send(lane, messages)
}

func (h watchedHandler) Receive(from transport.HostIdentity, lane transport.Lane, messages []raftpb.Message) {
	for i := range messages {
		if kind := messages[i].Type; kind == raftpb.MessagePreVote || kind == raftpb.MessageVote {
			h.watch.note(h.watch.asked, messages[i].ShardID)
		}
	}
	h.Handler.Receive(from, lane, messages)
}

// An older copy of one of two lanes is put back, while the other lane, the promises and the rest of the host's directory stay what they are (R14).
// The shards of that lane have less than they promised: their replicas there say that they abstain, vote for nobody, also where
// that leaves no quorum, are healed under another incarnation, by which alone they vote again (R15), and end with what the others have. Those of
// the other lane go on as they were, and are of the quorum.
func TestAnOlderCopyOfOneLaneIsNoticed(t *testing.T) {
	c, network := newMemoryCluster(t, 3)
	watch := &laneWatch{
		abstained: make(map[uint64]int), healed: make(map[uint64]int), asked: make(map[uint64]int), lost: make(map[uint64]uint64),
	}
	second := func(host int) string { return filepath.Join(c.dirs[host]+"-second-device", "log") }
	lane := second(0)
	c.configure = func(i int, config *nodehost.Config) {
		config.Transport = func(c nodehost.TransportContext) (transport.Transport, error) {
			if i == 0 {
				return watchedTransport{network.Host(c.Identity), watch}, nil
			}
			return network.Host(c.Identity), nil
		}
		if i == 0 {
			config.LogDB = nodehost.SegmentedLog(seglog.Options{SegmentBytes: 256 << 10, Directories: []string{lane}})
			config.Events.ReplicaAbstaining = func(r nodehost.ReplicaName) { watch.note(watch.abstained, r.ShardID) }
			config.Events.ReplicaHealed = func(r nodehost.ReplicaName) { watch.note(watch.healed, r.ShardID) }
		}
	}
	c.startAll(laneShards...)
	c.proposeInAll("before the copy")
	c.stop(0)
	backup := filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(backup, os.DirFS(lane)); err != nil {
		t.Fatal(err)
	}
	inLane := shardsOfLane(t, backup)
	if len(inLane) == 0 || len(inLane) == len(laneShards) {
		t.Fatalf("the lane has shards %v", inLane)
	}
	c.start(0)
	c.startShards(0, laneShards...)
	c.proposeInAll("behind the copy")
	before := make(map[uint64]uint64)
	for _, shard := range laneShards {
		before[shard] = voterIncarnation(c, 1, shard)
	}
	c.stop(0, 1, 2)
	if err := errors.Join(os.RemoveAll(lane), os.CopyFS(lane, os.DirFS(backup))); err != nil {
		t.Fatal(err)
	}
	watch.mu.Lock()
	for _, shard := range inLane {
		watch.lost[shard] = before[shard]
	}
	clear(watch.asked)
	watch.mu.Unlock()

	for host := range 2 { // a quorum only where nothing was lost
		c.start(host)
		c.startShards(host, laneShards...)
	}
	for _, shard := range laneShards {
		if !slices.Contains(inLane, shard) {
			c.leader(shard)
			continue
		}
		c.eventually(fmt.Sprint("shard ", shard, " abstains, and is asked for its vote"), func() bool {
			return watch.count(watch.abstained, shard) > 0 && (watch.count(watch.asked, shard) >= 3 || len(watch.votes()) > 0)
		})
	}
	c.start(2)
	c.startShards(2, laneShards...)
	noVotes := func() {
		if votes := watch.votes(); len(votes) > 0 {
			t.Fatalf("replicas that lost promises voted: %q", votes)
		}
	}
	noVotes()
	for _, shard := range inLane {
		c.eventually(fmt.Sprint("shard ", shard, " is healed"), func() bool { return watch.count(watch.healed, shard) > 0 })
		c.eventually(fmt.Sprint("shard ", shard, " has it as a voter"), func() bool {
			now := voterIncarnation(c, 1, shard)
			return now != 0 && now != before[shard]
		})
	}
	c.proposeInAll("behind the healing")
	for _, shard := range laneShards {
		first := c.read(0, shard)
		for i := range c.hosts {
			if other := c.read(i, shard); !slices.Equal(first, other) {
				t.Errorf("shard %d: hosts 0 and %d differ: %q, %q", shard, i, first, other)
			}
		}
		if command, lacks := missing(first, []string{"before the copy", "behind the copy", "behind the healing"}); lacks {
			t.Errorf("shard %d lacks %q", shard, command)
		}
		if !slices.Contains(inLane, shard) && (watch.count(watch.abstained, shard) > 0 || voterIncarnation(c, 1, shard) != before[shard]) {
			t.Errorf("shard %d is in the other lane, and its replica lost something", shard)
		}
	}
	noVotes()
}

// proposeInAll proposes a command in each shard, and waits until the first host has it.
func (c *cluster) proposeInAll(command string) {
	for _, shard := range laneShards {
		c.propose(c.leader(shard), shard, command)
	}
	for _, shard := range laneShards {
		c.read(0, shard)
	}
}

// voterIncarnation is that by which a shard knows the replica of the first host, as another host sees it, 0 if it is no voter.
func voterIncarnation(c *cluster, seenBy int, shard uint64) (incarnation uint64) {
	c.t.Helper()
	c.eventually("members", func() bool {
		members, err := c.shard(seenBy, shard).Members(patient(c.t))
		if err != nil {
			return false
		}
		incarnation = 0
		for _, m := range members.Members {
			if m.ReplicaID == 1 && m.Kind == raftpb.Voter {
				incarnation = m.Incarnation
			}
		}
		return true
	})
	return incarnation
}

// shardsOfLane says which shards a lane holds. It looks at a copy, without the file that says that it is one of several lanes: with it, it is not
// opened alone.
func shardsOfLane(t *testing.T, lane string) (shards []uint64) {
	t.Helper()
	alone := filepath.Join(t.TempDir(), "alone")
	if err := errors.Join(os.CopyFS(alone, os.DirFS(lane)), os.Remove(filepath.Join(alone, "LANES"))); err != nil {
		t.Fatal(err)
	}
	store, err := seglog.Open(seglog.Options{Dir: alone, SegmentBytes: 256 << 10, Manual: true, Buffered: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	keys, err := store.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		shards = append(shards, key.ShardID)
	}
	return shards
}
