package raft

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

func TestValidateListsEveryFault(t *testing.T) {
	o := Options{
		ElectionTimeout: -1, HeartbeatInterval: 2 * time.Second, MaxMessageBytes: -1, MaxInflightBytes: -1,
		MaxInflightMessages: -1, MaxUncommittedBytes: -1, MaxPinnedBytes: -1, MaxApplyBytes: -1,
	}
	err := o.Validate()
	if !errors.Is(err, ErrOptions) {
		t.Fatalf("%v is no ErrOptions", err)
	}
	for _, field := range []string{
		"ShardID", "ReplicaID", "Session", "ElectionTimeout", "HeartbeatInterval", "MaxMessageBytes", "MaxInflightBytes",
		"MaxInflightMessages", "MaxUncommittedBytes", "MaxPinnedBytes", "MaxApplyBytes",
	} {
		if !strings.Contains(err.Error(), field+":") {
			t.Errorf("%s is not named in %v", field, err)
		}
	}
	good := Options{ShardID: 1, ReplicaID: 1, Session: 1}
	if err := good.Validate(); err != nil {
		t.Errorf("the zero value of the rest: %v", err)
	}
	if good.ElectionTimeout != 0 {
		t.Error("Validate changed the options")
	}
	if _, err := New(0, o, raftpb.Stored{}, Promised{}, fixedCache{}); !errors.Is(err, ErrOptions) {
		t.Errorf("New: %v", err)
	}
}

func TestNewRefusesContradictions(t *testing.T) {
	bootstrap := raftpb.Bootstrap{Incarnation: 1, Complete: true}
	state := raftpb.HardState{Term: 5}
	for name, stored := range map[string]raftpb.Stored{
		"last below compacted": {Bootstrap: bootstrap, State: state, Compacted: 5, CompactedTerm: 1, Last: 4},
		"no terms":             {Bootstrap: bootstrap, State: state, Last: 4},
		"terms begin late":     {Bootstrap: bootstrap, State: state, Last: 4, Terms: []raftpb.TermStart{{Term: 1, First: 2}}},
		"terms fall": {Bootstrap: bootstrap, State: state, Last: 4,
			Terms: []raftpb.TermStart{{Term: 2, First: 1}, {Term: 1, First: 2}}},
		"term above the hard state": {Bootstrap: bootstrap, State: state, Last: 4, Terms: []raftpb.TermStart{{Term: 9, First: 1}}},
		"terms of an empty log":     {Bootstrap: bootstrap, State: state, Terms: []raftpb.TermStart{{Term: 1, First: 1}}},
		"no incarnation":            {State: state},
		"membership beyond the log": {Bootstrap: bootstrap, State: state, Configs: []raftpb.ConfigRecord{{Index: 3}}},
	} {
		options := Options{ShardID: 1, ReplicaID: 1, Session: 1}
		if _, err := New(0, options, stored, Promised{}, fixedCache{}); !errors.Is(err, ErrStored) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestElectionTimeoutsAreSpreadAndRepeatable(t *testing.T) {
	draw := func(seed uint64) []Instant {
		c := &Core{options: Options{ElectionTimeout: time.Second}, random: random{state: seed}}
		var all []Instant
		for range 50 {
			c.resetElectionTimer(0)
			if c.timeout < Instant(time.Second) || c.timeout >= Instant(2*time.Second) {
				t.Fatalf("timeout %d", c.timeout)
			}
			all = append(all, c.timeout)
		}
		return all
	}
	a, b, c := draw(1), draw(1), draw(2)
	same := 0
	for i := range a {
		if a[i] != b[i] {
			t.Fatal("the same seed draws different timeouts")
		}
		if a[i] == c[i] {
			same++
		}
	}
	if same > 2 {
		t.Errorf("two seeds draw the same timeout %d times of %d", same, len(a))
	}
}

func TestHeartbeatsFallOnMultiplesOfTheInterval(t *testing.T) {
	n := newNetwork(3, t.Errorf)
	n.advance(3 * time.Second)
	leader := n.leader().core
	if interval := Instant(leader.options.HeartbeatInterval); leader.heartbeatAt%interval != 0 {
		t.Errorf("the next heartbeat is due at %d, no multiple of %d", leader.heartbeatAt, interval)
	}
}

// The only voter of a shard does not wait for an election timeout when it is started again: nobody else can lead. One of several does, and so does
// one that may have promised its vote to a lease, or knows nothing yet.
func TestTheOnlyVoterLeadsAtOnce(t *testing.T) {
	member := func(id uint64) raftpb.Member {
		return raftpb.Member{ReplicaID: id, Kind: raftpb.Voter, Address: "host:1", Incarnation: id}
	}
	start := func(change func(*Options, *raftpb.Stored)) Role {
		options := Options{ShardID: 1, ReplicaID: 1, Session: 1, Seed: 1}
		stored := raftpb.Stored{
			Bootstrap: raftpb.Bootstrap{Incarnation: 1, Complete: true, Initial: raftpb.Membership{Members: []raftpb.Member{member(1)}}},
			State:     raftpb.HardState{Term: 3, Commit: 2}, Last: 2, Terms: []raftpb.TermStart{{Term: 3, First: 1}},
		}
		if change != nil {
			change(&options, &stored)
		}
		c, err := New(1000, options, stored, Promised{}, fixedCache{})
		if err != nil {
			t.Fatal(err)
		}
		if c.Deadline() <= 1000 {
			c.Tick(1000)
		}
		return c.role
	}
	if role := start(nil); role != RoleCandidate {
		t.Errorf("it is a %v", role)
	}
	for name, change := range map[string]func(*Options, *raftpb.Stored){
		"one of two": func(_ *Options, s *raftpb.Stored) {
			s.Bootstrap.Initial.Members = append(s.Bootstrap.Initial.Members, member(2))
		},
		"bound by a lease": func(o *Options, _ *raftpb.Stored) { o.LeaseRead = true },
		"a learner":        func(_ *Options, s *raftpb.Stored) { s.Bootstrap.Initial.Members[0].Kind = raftpb.Learner },
	} {
		if role := start(change); role != RoleFollower {
			t.Errorf("%s: it is a %v", name, role)
		}
	}
}
