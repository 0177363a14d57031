package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

// HostOptions tell a host process what it is. They are its one argument, as JSON.
type HostOptions struct {
	Dir       string
	Addresses []string // of all hosts
	Number    int      // of this one, from 0
	Life      int      // how often it was started before
	Shards    int
	Clients   int // of each shard on this host
	Payload   int
	// ElectionTimeout is the base.
	ElectionTimeout time.Duration
}

// request is what the parent asks, one JSON line; reply is the answer, one line too.
type request struct {
	Do   string
	Lost uint64 `json:",omitempty"` // of "watch": the replica whose host is to go
}

type reply struct {
	Error     string    `json:",omitempty"`
	At        int64     `json:",omitempty"`
	Watched   []Watched `json:",omitempty"`
	Summaries []Summary `json:",omitempty"`
	Faults    []string  `json:",omitempty"`
}

// hostProcess is one host with its clients. Replica number+1 of every shard is here; shard s is led by host s modulo hosts.
type hostProcess struct {
	options  HostOptions
	node     *nodehost.NodeHost
	shards   []*nodehost.Shard
	machines []*machine
	watches  []watch
	clients  []*client
	running  sync.WaitGroup
	stopping atomic.Bool
}

// RunHost is the main of a host process: it obeys requests until it is told to close or its input ends, which it does when the
// parent is gone.
func RunHost(ctx context.Context, options string, in io.Reader, out io.Writer) error {
	h := &hostProcess{}
	if err := json.Unmarshal([]byte(options), &h.options); err != nil {
		return fmt.Errorf("failover: options of a host: %w", err)
	}
	if err := h.start(ctx); err != nil {
		return err
	}
	requests, answers := json.NewDecoder(in), json.NewEncoder(out)
	if err := answers.Encode(reply{At: wallClock()}); err != nil {
		return err
	}
	for {
		var r request
		if err := requests.Decode(&r); err != nil {
			return fmt.Errorf("failover: the parent is gone: %w", err)
		}
		if r.Do == "close" {
			return h.close(answers)
		}
		answer, err := h.obey(ctx, r)
		if err != nil {
			answer.Error = err.Error()
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
}

func (h *hostProcess) start(ctx context.Context) error {
	o := &h.options
	h.watches = make([]watch, o.Shards)
	members := make(map[uint64]string)
	for i, address := range o.Addresses {
		members[uint64(i+1)] = address
	}
	config := nodehost.Config{
		Dir: o.Dir, Address: o.Addresses[o.Number], Deployment: "failover", ElectionTimeout: o.ElectionTimeout,
		RequestTimeout: max(10*o.ElectionTimeout, time.Second),
	}
	config.Events.LeaderChanged = func(replica nodehost.ReplicaName, leader, term uint64) {
		h.watches[replica.ShardID-1].led(wallClock(), leader, term)
	}
	var err error
	if h.node, err = nodehost.New(config); err != nil {
		return err
	}
	for i := range o.Shards {
		m := newMachine()
		replica := nodehost.ReplicaConfig{ShardID: uint64(i + 1), ReplicaID: uint64(o.Number + 1), Members: members}
		factory := func(uint64, uint64) (rsm.StateMachine, error) { return m, nil }
		if err := h.node.StartReplica(ctx, replica, factory); err != nil {
			return errors.Join(err, h.node.Close())
		}
		shard, err := h.node.Shard(replica.ShardID)
		if err != nil {
			return errors.Join(err, h.node.Close())
		}
		h.shards, h.machines = append(h.shards, shard), append(h.machines, m)
	}
	return nil
}

func (h *hostProcess) obey(ctx context.Context, r request) (reply, error) {
	answer := reply{At: wallClock()}
	switch r.Do {
	case "lead":
		return answer, h.lead(ctx)
	case "load":
		h.load(ctx)
	case "watch":
		for i, shard := range h.shards {
			leader, term, _ := shard.Leader()
			h.watches[i].begin(r.Lost, leader, term)
		}
	case "report":
		for i := range h.watches {
			answer.Watched = append(answer.Watched, h.watches[i].report())
		}
	case "halt":
		h.stopping.Store(true)
		h.running.Wait()
	case "summary":
		for _, m := range h.machines {
			answer.Summaries = append(answer.Summaries, m.now())
		}
		for _, c := range h.clients {
			if fault := c.fault(); fault != "" {
				answer.Faults = append(answer.Faults, fmt.Sprintf("host %d, shard %d, client %d: %s (%d acknowledged, %d unknown, %d applied)",
					h.options.Number+1, c.shard.ID(), c.id, fault, c.acknowledged, c.unknown, c.machine.applied(c.id)))
			}
		}
	default:
		return answer, fmt.Errorf("failover: no such request: %q", r.Do)
	}
	return answer, nil
}

// lead takes the leadership of the shards that belong here.
func (h *hostProcess) lead(ctx context.Context) error {
	own := uint64(h.options.Number + 1)
	for i, shard := range h.shards {
		if i%len(h.options.Addresses) != h.options.Number {
			continue
		}
		for {
			leader, err := shard.WaitLeader(ctx)
			if err != nil {
				return err
			}
			if leader == own {
				break
			}
			if err := shard.TransferLeader(ctx, own); err != nil { // it may be between leaders, or this replica behind
				time.Sleep(refusedPause)
			}
		}
	}
	return nil
}

// load starts the clients.
func (h *hostProcess) load(ctx context.Context) {
	for i, shard := range h.shards {
		for n := range h.options.Clients {
			c := &client{
				id:    uint64(h.options.Life)<<40 | uint64(h.options.Number)<<32 | uint64(n),
				shard: shard, watch: &h.watches[i], machine: h.machines[i], command: make([]byte, h.options.Payload),
			}
			h.clients = append(h.clients, c)
			h.running.Go(func() { c.run(ctx, &h.stopping) })
		}
	}
}

// close answers twice: when the close begins and when it is over.
func (h *hostProcess) close(answers *json.Encoder) error {
	if err := answers.Encode(reply{At: wallClock()}); err != nil {
		return err
	}
	err := h.node.Close()
	h.running.Wait()
	answer := reply{At: wallClock()}
	if err != nil {
		answer.Error = err.Error()
	}
	return errors.Join(err, answers.Encode(answer))
}
