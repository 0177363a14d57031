package nodehost_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

func TestConfigNamesEveryFault(t *testing.T) {
	valid := func() nodehost.Config { return nodehost.Config{Dir: "d", Address: "host:1"} }
	for name, test := range map[string]struct {
		change func(*nodehost.Config)
		says   []string // none: accepted
	}{
		"least":                {func(*nodehost.Config) {}, nil},
		"ipv6":                 {func(c *nodehost.Config) { c.Address, c.ListenAddress = "[2001:db8::1]:7", "[::]:7" }, nil},
		"no disk watch":        {func(c *nodehost.Config) { c.DiskReserveBytes = -1 }, nil},
		"dir":                  {func(c *nodehost.Config) { c.Dir = "" }, []string{"Dir is empty"}},
		"address":              {func(c *nodehost.Config) { c.Address = "" }, []string{"Address is empty"}},
		"address without port": {func(c *nodehost.Config) { c.Address = "host" }, []string{`Address is "host"`}},
		"long address":         {func(c *nodehost.Config) { c.Address = strings.Repeat("h", 300) + ":1" }, []string{"Address has 302 bytes"}},
		"listen address":       {func(c *nodehost.Config) { c.ListenAddress = "::1" }, []string{`ListenAddress is "::1"`}},
		"deployment":           {func(c *nodehost.Config) { c.Deployment = strings.Repeat("d", 256) }, []string{"Deployment has 256 bytes"}},
		"election":             {func(c *nodehost.Config) { c.ElectionTimeout = -1 }, []string{"ElectionTimeout is -1ns"}},
		"heartbeat": {
			func(c *nodehost.Config) { c.HeartbeatInterval = time.Second },
			[]string{"HeartbeatInterval is 1s, accepted is 0 (default) to half of ElectionTimeout, 500ms"},
		},
		"request timeout": {func(c *nodehost.Config) { c.RequestTimeout = 25 * time.Hour }, []string{"RequestTimeout is 25h0m0s"}},
		"command":         {func(c *nodehost.Config) { c.MaxCommandBytes = 257 << 20 }, []string{"MaxCommandBytes is 269484032", "268435456"}},
		"batch":           {func(c *nodehost.Config) { c.MaxBatchBytes = -1 }, []string{"MaxBatchBytes is -1"}},
		"cache":           {func(c *nodehost.Config) { c.CacheBytes = -5 }, []string{"CacheBytes is -5"}},
		"tuning": {
			func(c *nodehost.Config) {
				c.Tuning = nodehost.Tuning{
					StepWorkers: -1, LogReaders: -1, ApplyWorkers: -1, MaxApplyWorkers: -1, MaxOpenBytes: -1, MaxOpenReads: -1, MaxQueueDelay: -1,
					MaxWriteBytes: -1, MaxStall: -1, MaxStopWait: -1, PromiseInterval: 2 * time.Second, MaxEvents: -1, MaxMessageBytes: -1,
					MaxInflightBytes: -1, MaxInflightMessages: -1, MaxUncommittedBytes: -1, MaxBacklogBytes: -1,
					SnapshotWorkers: -1, RecoverWorkers: -1, SnapshotShare: 1.5,
				}
			},
			[]string{
				"Tuning.StepWorkers is -1", "Tuning.LogReaders is -1", "Tuning.ApplyWorkers is -1", "Tuning.MaxApplyWorkers is -1", "Tuning.MaxOpenBytes is -1",
				"Tuning.MaxOpenReads is -1", "Tuning.MaxQueueDelay is -1ns", "Tuning.MaxWriteBytes is -1", "Tuning.MaxStall is -1ns", "Tuning.MaxStopWait is -1ns",
				"Tuning.PromiseInterval is 2s", "Tuning.MaxEvents is -1", "Tuning.MaxMessageBytes is -1",
				"Tuning.MaxInflightBytes is -1", "Tuning.MaxInflightMessages is -1", "Tuning.MaxUncommittedBytes is -1", "Tuning.MaxBacklogBytes is -1",
				"Tuning.SnapshotWorkers is -1", "Tuning.RecoverWorkers is -1", "Tuning.SnapshotShare is 1.5",
			},
		},
		"all at once": {func(c *nodehost.Config) { *c = nodehost.Config{MaxBatchBytes: -1} }, []string{"Dir", "Address", "MaxBatchBytes"}},
	} {
		config := valid()
		test.change(&config)
		checkFaults(t, name, config.Validate(), test.says)
		if len(test.says) > 0 {
			if _, err := nodehost.New(config); !errors.Is(err, nodehost.ErrInvalidConfig) {
				t.Errorf("%s: New says %v", name, err)
			}
		}
	}
}

func checkFaults(t *testing.T, name string, err error, says []string) {
	t.Helper()
	if (err == nil) != (len(says) == 0) || err != nil && !errors.Is(err, nodehost.ErrInvalidConfig) {
		t.Errorf("%s: %v", name, err)
		return
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: no %q in %v", name, text, err)
		}
	}
}

func TestReplicaConfigNamesEveryFault(t *testing.T) {
	c := newCluster(t, 1)
	c.start(0)
	own := c.addresses[0]
	for name, test := range map[string]struct {
		config nodehost.ReplicaConfig
		says   []string
	}{
		"nothing":       {nodehost.ReplicaConfig{}, []string{"ShardID is 0", "ReplicaID is 0"}},
		"joins":         {nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Join: true, Members: map[uint64]string{1: own}, SkipBootstrapCheck: true}, []string{"Members has 1 entries", "SkipBootstrapCheck"}},
		"witness":       {nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Witness: true, Members: map[uint64]string{1: own}}, []string{"Witness is true"}},
		"not a member":  {nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Members: map[uint64]string{2: own}}, []string{"no entry 1"}},
		"other address": {nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Members: map[uint64]string{1: "host:1"}}, []string{`Members[1] is "host:1"`, own}},
		"bad members":   {nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Members: map[uint64]string{0: "", 1: own, 2: "x"}}, []string{"entry 0", "Members[0] is empty", `Members[2] is "x"`}},
		"election":      {nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Join: true, ElectionTimeout: -1}, []string{"ElectionTimeout"}},
		"audit":         {nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Join: true, Audit: time.Millisecond}, []string{"Audit is 1ms, accepted is 0 (none) or at least 100ms"}},
		"heartbeat":     {nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Join: true, HeartbeatInterval: time.Hour}, []string{"HeartbeatInterval"}},
		"kinds": {nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Members: map[uint64]string{1: own, 2: own}, Learners: []uint64{2, 2, 5}, Witnesses: []uint64{1, 6}},
			[]string{"Learners has 2 a second time", "Learners has 5,", "Witnesses has 6,", "all 2 Members"}},
		"priorities":            {nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Members: map[uint64]string{1: own}, Priorities: map[uint64]raftpb.Priority{9: 1}}, []string{"Priorities has an entry 9"}},
		"kinds without members": {nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Join: true, Learners: []uint64{1}}, []string{"Learners has 1,"}},
	} {
		checkFaults(t, name, c.hosts[0].StartReplica(patient(t), test.config, c.factory(0)), test.says)
	}
	valid := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Members: c.members()}
	checkFaults(t, "no factory", c.hosts[0].StartReplica(patient(t), valid, nil), []string{"factory is nil"})
	checkFaults(t, "no machine", c.hosts[0].StartReplica(patient(t), valid,
		func(uint64, uint64) (rsm.StateMachine, error) { return nil, nil }), []string{"no state machine"})
	refused := errors.New("refused")
	err := c.hosts[0].StartReplica(patient(t), valid, func(uint64, uint64) (rsm.StateMachine, error) { return nil, refused })
	if !errors.Is(err, refused) {
		t.Errorf("a factory that fails: %v", err)
	}
	err = c.hosts[0].StartReplica(patient(t), valid, func(uint64, uint64) (rsm.StateMachine, error) { panic("factory") })
	if err == nil || !strings.Contains(err.Error(), "panicked") {
		t.Errorf("a factory that panics: %v", err)
	}
	checkFaults(t, "no ids", c.hosts[0].RemoveReplicaData(patient(t), 0, 0), []string{"shard 0"})
	c.startShards(0, 1) // none of the failed starts is in the way
}
