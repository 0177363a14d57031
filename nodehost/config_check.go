package nodehost

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/go-multierror"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/rsm"
)

// Limits of what a configuration accepts.
const (
	maxNameBytes    = 255 // of addresses and deployment names, in identity file and handshake
	maxCommandBytes = 256 << 20
	maxTimeout      = 24 * time.Hour
	maxElection     = time.Hour
	minAudit        = 100 * time.Millisecond
)

// faults collects what is wrong with a configuration.
type faults struct{ all *multierror.Error }

func (f *faults) add(format string, arguments ...any) {
	f.all = multierror.Append(f.all, fmt.Errorf(format, arguments...))
}

func (f *faults) err() error {
	if f.all == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalidConfig, f.all)
}

func (f *faults) address(name, value string, required bool) {
	if value == "" {
		if required {
			f.add("%s is empty, accepted is \"host:port\"", name)
		}
		return
	}
	if len(value) > maxNameBytes {
		f.add("%s has %d bytes, accepted are up to %d", name, len(value), maxNameBytes)
	}
	if _, _, err := net.SplitHostPort(value); err != nil {
		f.add("%s is %q, accepted is \"host:port\": %w", name, value, err)
	}
}

func (f *faults) times(election, heartbeat time.Duration, standard time.Duration) {
	if election < 0 || election > maxElection {
		f.add("ElectionTimeout is %v, accepted is 0 (default) to %v", election, maxElection)
		return
	}
	if election == 0 {
		election = standard
	}
	if heartbeat < 0 || heartbeat > election/2 {
		f.add("HeartbeatInterval is %v, accepted is 0 (default) to half of ElectionTimeout, %v", heartbeat, election/2)
	}
}

// Validate lists every fault at once; the error matches ErrInvalidConfig. It looks at no file and no network.
func (c *Config) Validate() error {
	var f faults
	if c.Dir == "" {
		f.add("Dir is empty, accepted is the path of a directory")
	}
	f.address("Address", c.Address, true)
	f.address("ListenAddress", c.ListenAddress, false)
	if len(c.Deployment) > maxNameBytes {
		f.add("Deployment has %d bytes, accepted are up to %d", len(c.Deployment), maxNameBytes)
	}
	f.times(c.ElectionTimeout, c.HeartbeatInterval, DefaultElectionTimeout)
	c.validateNumbers(&f)
	return f.err()
}

func (c *Config) validateNumbers(f *faults) {
	t := &c.Tuning
	for _, number := range []struct {
		name      string
		value, to int64
	}{
		{"MaxCommandBytes", int64(c.MaxCommandBytes), maxCommandBytes},
		{"MaxBatchBytes", int64(c.MaxBatchBytes), maxCommandBytes},
		{"CacheBytes", c.CacheBytes, 1 << 50},
		{"Tuning.StepWorkers", int64(t.StepWorkers), 1024},
		{"Tuning.LogReaders", int64(t.LogReaders), 256},
		{"Tuning.ApplyWorkers", int64(t.ApplyWorkers), 1024},
		{"Tuning.MaxApplyWorkers", int64(t.MaxApplyWorkers), 4096},
		{"Tuning.SnapshotWorkers", int64(t.SnapshotWorkers), 1024},
		{"Tuning.StreamWorkers", int64(t.StreamWorkers), 1024},
		{"Tuning.SnapshotSendBytesPerSecond", t.SnapshotSendBytesPerSecond, 1 << 50},
		{"Tuning.SnapshotStreamBytesPerSecond", t.SnapshotStreamBytesPerSecond, 1 << 50},
		{"Tuning.RecoverWorkers", int64(t.RecoverWorkers), 1024},
		{"Tuning.MaxOpenBytes", int64(t.MaxOpenBytes), 1 << 32},
		{"Tuning.MaxOpenReads", int64(t.MaxOpenReads), 1 << 24},
		{"Tuning.MaxWriteBytes", t.MaxWriteBytes, 1 << 40},
		{"Tuning.MaxEvents", int64(t.MaxEvents), 1 << 24},
		{"Tuning.MaxMessageBytes", int64(t.MaxMessageBytes), 1 << 30},
		{"Tuning.MaxInflightBytes", int64(t.MaxInflightBytes), 1 << 30},
		{"Tuning.MaxInflightMessages", int64(t.MaxInflightMessages), 1 << 30},
		{"Tuning.MaxUncommittedBytes", int64(t.MaxUncommittedBytes), 1 << 30},
		{"Tuning.MaxBacklogBytes", int64(t.MaxBacklogBytes), 1 << 30},
	} {
		if number.value < 0 || number.value > number.to {
			f.add("%s is %d, accepted is 0 (default) to %d", number.name, number.value, number.to)
		}
	}
	if t.SnapshotShare < 0 || t.SnapshotShare > 1 {
		f.add("Tuning.SnapshotShare is %g, accepted is 0 (default) to 1", t.SnapshotShare)
	}
	for _, duration := range []struct {
		name      string
		value, to time.Duration
	}{
		{"RequestTimeout", c.RequestTimeout, maxTimeout},
		{"Tuning.MaxQueueDelay", t.MaxQueueDelay, time.Hour},
		{"Tuning.MaxStall", t.MaxStall, time.Hour},
		{"Tuning.MaxStopWait", t.MaxStopWait, time.Hour},
		{"Tuning.PromiseInterval", t.PromiseInterval, time.Second},
	} {
		if duration.value < 0 || duration.value > duration.to {
			f.add("%s is %v, accepted is 0 (default) to %v", duration.name, duration.value, duration.to)
		}
	}
}

// withDefaults returns the configuration with every default filled in that this package decides; those of Tuning are the engine's.
func (c Config) withDefaults() Config {
	setDefault(&c.ListenAddress, c.Address)
	setDefault(&c.Deployment, DefaultDeployment)
	setDefault(&c.RequestTimeout, DefaultRequestTimeout)
	setDefault(&c.ElectionTimeout, DefaultElectionTimeout)
	setDefault(&c.HeartbeatInterval, c.ElectionTimeout/DefaultHeartbeatFraction)
	setDefault(&c.MaxCommandBytes, DefaultMaxCommandBytes)
	setDefault(&c.MaxBatchBytes, DefaultMaxBatchBytes)
	setDefault(&c.CacheBytes, DefaultCacheBytes)
	setDefault(&c.DiskReserveBytes, max(MinDiskReserveBytes, 2*c.Tuning.MaxWriteBytes))
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = engine.GuardLogger(c.Logger)
	if c.LogDB == nil {
		c.LogDB = SegmentedLog(seglog.Options{})
	}
	if c.Transport == nil {
		c.Transport = newTCP
	}
	if c.Clock == nil {
		c.Clock = newClock()
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate lists every fault of a replica's configuration on a host with the given address.
func (c *ReplicaConfig) validate(host *Config) error {
	var f faults
	if c.ShardID == 0 {
		f.add("ShardID is 0, accepted is 1 and above")
	}
	if c.ReplicaID == 0 {
		f.add("ReplicaID is 0, accepted is 1 and above")
	}
	if c.Join && len(c.Members) > 0 {
		f.add("Members has %d entries, accepted are none together with Join", len(c.Members))
	}
	if c.Witness && len(c.Members) > 0 {
		f.add("Witness is true, accepted with Members is an entry in Witnesses")
	}
	if c.Join && c.SkipBootstrapCheck {
		f.add("SkipBootstrapCheck is true, accepted is false together with Join")
	}
	f.times(c.ElectionTimeout, c.HeartbeatInterval, host.ElectionTimeout)
	if c.MaxClockDrift < 0 || c.MaxClockDrift > raft.MaxClockDrift {
		f.add("MaxClockDrift is %s, accepted is 0 (default) to %s", c.MaxClockDrift, raft.MaxClockDrift)
	}
	if c.Audit != 0 && c.Audit < minAudit {
		f.add("Audit is %s, accepted is 0 (none) or at least %s", c.Audit, minAudit)
	}
	if err := c.Snapshots.Validate(); err != nil {
		f.add("%w", err)
	}
	if c.MaxSessions < 0 || c.MaxSessions > rsm.MaxSessions {
		f.add("MaxSessions is %d, accepted is 0 (default) to %d", c.MaxSessions, rsm.MaxSessions)
	}
	c.validateMembers(&f, host.Address)
	return f.err()
}

func (c *ReplicaConfig) validateMembers(f *faults, own string) {
	c.validateKinds(f)
	if len(c.Members) == 0 {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(c.Members)) {
		if id == 0 {
			f.add("Members has an entry 0, accepted are replica IDs from 1")
		}
		f.address(fmt.Sprintf("Members[%d]", id), c.Members[id], true)
	}
	switch address, member := c.Members[c.ReplicaID]; {
	case !member:
		f.add("Members has no entry %d, accepted is one for ReplicaID", c.ReplicaID)
	case address != own:
		f.add("Members[%d] is %q, accepted is the host's Address %q", c.ReplicaID, address, own)
	}
}

// validateKinds looks at what is said of single members.
func (c *ReplicaConfig) validateKinds(f *faults) {
	others := make(map[uint64]bool)
	for _, list := range [...]struct {
		name string
		ids  []uint64
	}{{"Learners", c.Learners}, {"Witnesses", c.Witnesses}} {
		for _, id := range list.ids {
			if _, member := c.Members[id]; !member {
				f.add("%s has %d, accepted are IDs in Members", list.name, id)
			} else if others[id] {
				f.add("%s has %d a second time, accepted is each ID once in Learners and Witnesses together", list.name, id)
			}
			others[id] = true
		}
	}
	if len(c.Members) > 0 && len(others) >= len(c.Members) {
		f.add("Learners and Witnesses have all %d Members, accepted is at least one voter", len(c.Members))
	}
	for _, id := range slices.Sorted(maps.Keys(c.Priorities)) {
		if _, member := c.Members[id]; !member {
			f.add("Priorities has an entry %d, accepted are IDs in Members", id)
		}
	}
}
