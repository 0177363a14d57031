package engine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// churn asks three hosts for whatever can be asked for, at any time: requests, stops and starts, repairs, transfers, changes and
// cancellations, while links break and state machines do not return. Each question has to be answered once.
type churn struct {
	*testCluster
	random  *rand.Rand
	answers []int
	what    []string
	running [3]bool
	held    [3]bool
}

// ask returns what the answer has to call.
func (c *churn) ask(format string, arguments ...any) func() {
	i := len(c.answers)
	c.answers = append(c.answers, 0)
	c.what = append(c.what, fmt.Sprintf("%v: ", time.Duration(c.now))+fmt.Sprintf(format, arguments...))
	return func() { c.answers[i]++ }
}

func (c *churn) startAgain(i int) {
	h, answered := c.hosts[i], c.ask("start of %d", i+1)
	options := engine.ReplicaOptions{ShardID: 1, ReplicaID: uint64(i + 1), Members: c.members()}
	h.engine.StartReplica(options, func(uint64, uint64) (rsm.StateMachine, error) { return &recorder{}, nil }, func(r *engine.Replica, err error) {
		answered()
		if err == nil {
			h.replicas[1], c.running[i] = r, true
		}
	})
}

func (c *churn) stop(i int) {
	answered := c.ask("stop of %d", i+1)
	c.hosts[i].engine.StopReplica(c.hosts[i].replicas[1], func(err error) {
		answered()
		if !errors.Is(err, engine.ErrNotStarted) {
			c.running[i] = false
		}
	})
}

func (c *churn) act() {
	i := c.random.IntN(3)
	h, r := c.hosts[i], c.hosts[i].replicas[1]
	switch k := c.random.IntN(40); {
	case k < 12:
		answered := c.ask("proposal on %d", i+1)
		if r.Propose([]byte("x"), uint64(c.random.IntN(2)*c.random.IntN(4)), func(rsm.Result, error) { answered() }) != nil {
			answered()
		}
	case k < 20:
		answered := c.ask("read on %d", i+1)
		if r.Read(nil, func(any, error) { answered() }) != nil {
			answered()
		}
	case k < 22:
		c.stop(i)
	case k < 26:
		if !c.running[i] {
			c.startAgain(i)
		}
	case k < 28:
		c.repair(i)
	case k < 30:
		answered := c.ask("transfer on %d", i+1)
		r.Transfer(uint64(c.random.IntN(4)), func(error) { answered() })
	case k < 32:
		answered := c.ask("change on %d", i+1)
		kind := raftpb.Voter + raftpb.MemberKind(c.random.IntN(2))
		r.ChangeMembers(raftpb.MembershipChange{Members: []raftpb.MemberChange{{ReplicaID: uint64(1 + c.random.IntN(3)), Kind: kind}}},
			func(raftpb.Membership, error) { answered() })
	case k < 33:
		answered := c.ask("cancellation on %d", i+1)
		r.CancelChange(func(raftpb.Membership, error) { answered() })
	case k < 34:
		answered := c.ask("status of %d", i+1)
		r.Status(func(raft.Status, error) { answered() })
	case k < 36:
		other := c.hosts[(i+1)%3].address
		cut := c.random.IntN(2) == 0
		c.network.SetPartitioned(h.address, other, cut)
		c.network.SetPartitioned(other, h.address, cut)
	case k < 38:
		c.held[i] = !c.held[i]
	default:
		c.run(time.Duration(c.random.IntN(3000)) * time.Millisecond)
	}
	c.run(time.Duration(c.random.IntN(30)) * time.Millisecond)
}

// repair asks for one repair at a time, of a shard that is well: a member that is taken from those who go on without it before they
// know that they have to would leave no quorum.
func (c *churn) repair(i int) {
	if c.calm(); c.leader(1) == c.hosts[i] {
		return
	}
	answered := c.ask("repair of %d", i+1)
	c.hosts[i].replicas[1].Repair(func(error) { answered() })
	c.run(10 * time.Second)
}

// calm ends all trouble.
func (c *churn) calm() {
	for i, h := range c.hosts {
		c.held[i] = false
		for _, other := range c.hosts {
			c.network.SetPartitioned(h.address, other.address, false)
		}
	}
	c.run(30 * time.Second)
	for i := range c.hosts {
		if !c.running[i] {
			c.startAgain(i)
		}
	}
	c.run(60 * time.Second)
}

func TestEveryQuestionIsAnsweredOnce(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := &churn{testCluster: newTestCluster(t, 3, func(o *engine.Options) { o.MaxStopWait = 3 * time.Second }), random: rand.New(rand.NewPCG(seed, 1))}
			for i, h := range c.hosts {
				c.startAgain(i)
				h.held = func(worker engine.Worker) bool { return c.held[i] && strings.HasPrefix(worker.Name(), "apply") }
			}
			c.waitLeader(1)
			for range 300 {
				c.act()
			}
			c.calm()
			for i, n := range c.answers {
				if n != 1 {
					t.Errorf("%s was answered %d times", c.what[i], n)
				}
			}
			if _, err := c.propose(c.waitLeader(1), 1, "the end"); err != nil {
				t.Error(err)
			}
			c.until(30*time.Second, "all have applied the same", func() bool {
				a, b, d := c.hosts[0].replicas[1].Applied(), c.hosts[1].replicas[1].Applied(), c.hosts[2].replicas[1].Applied()
				return a == b && b == d
			})
		})
	}
}
