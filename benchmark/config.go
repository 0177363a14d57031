package benchmark

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-multierror"
)

// ErrConfig is wrapped by every fault of a configuration.
var ErrConfig = errors.New("benchmark: bad configuration")

// BlockingSuffix behind an engine's name makes that one run with blocking calls beside others that do not.
const BlockingSuffix = ":blocking"

// Config describes a benchmark. DefaultConfig is the place to start from: the zero value is refused.
type Config struct {
	// Engines are the names of the engines to run, each with or without BlockingSuffix. With several, their repeats take turns and
	// the first is compared with the others.
	Engines []string
	// Workload is what is done to the engine: WorkloadSteady or WorkloadFailover.
	Workload string
	// Hosts (1 to 9) and Shards (1 to 100,000) are counts; every shard has a replica on every host.
	Hosts, Shards int
	// Payload is the size of a command in bytes, 16 to 1,048,576.
	Payload int
	// InFlight is the number of requests in flight over all shards, 1 to 1,000,000.
	InFlight int
	// Duration is what is measured (10 ms to 24 h), after Warmup (0 to 24 h), Repeat times (1 to 1,000), each with new hosts and data.
	Duration, Warmup time.Duration
	Repeat           int
	// ReadRatio is the share of requests that are linearizable reads, 0 to 1.
	ReadRatio float64
	// Offered, if above 0, makes the load an open loop: as many writes a second are issued, whatever becomes of those before, and what is
	// refused is not tried again. InFlight then bounds what has not ended: it is to be far above what the engine accepts.
	Offered float64
	// Reads says how reads are served: ReadsByIndex or ReadsByLease.
	Reads string
	// Delay is the time of a message from host to host, 0 to 10 s.
	Delay time.Duration
	// SnapshotEntries is after how many entries of a shard a snapshot is taken, 0 for never.
	SnapshotEntries int
	// OwnContext gives each blocking caller a context that can be cancelled, made once, instead of one that cannot.
	OwnContext bool
	// LogDB and Transport select parts of an engine that has a choice.
	LogDB, Transport string
	// Blocking makes every request in flight a goroutine that calls Propose, for all engines.
	Blocking bool
	// Data is the directory for all data. If empty, a fresh one is made among the temporary files, or in the user's cache if those
	// are in memory. What was made is removed at the end unless Keep is set.
	Data string
	Keep bool
	// JSON is a file for the report; none if empty.
	JSON string
	// Seed makes the payloads.
	Seed uint64
	// ElectionTimeout is the base of the randomized election timeout, 20 ms to 1 min, in WorkloadFailover; elsewhere engines have
	// their own.
	ElectionTimeout time.Duration
	// LogMiB is how much log WorkloadOpen fills a store with, in MiB.
	LogMiB int
	// Entries is how many commands WorkloadRestart applies behind the snapshot, StateMiB how large the state of WorkloadSnapshot is.
	Entries, StateMiB int
	// Require are targets for the medians; a miss is ErrRequirement.
	Require []Requirement
	// Observe, if not nil, is called when the measured span of a repeat begins; what it returns is called when the span ends. A profile
	// of exactly what was measured is taken there.
	Observe func() (end func())
	// Inject commits a fault that the end check must find.
	Inject Injection
}

// The workloads. Run makes the steady one, packages failover, slowfollower, logstore, snapshots and sessions the others.
const (
	// WorkloadSteady is a closed loop on hosts that all stay.
	WorkloadSteady = "steady"
	// WorkloadFailover closes and kills hosts under load.
	WorkloadFailover = "failover"
	// WorkloadAppend and WorkloadOpen measure log stores alone, side by side (package logstore).
	WorkloadAppend = "append"
	WorkloadOpen   = "open"
	// WorkloadSlowFollower stops a follower under load and lets it catch up; package slowfollower makes it.
	WorkloadSlowFollower = "slow-follower"
	// WorkloadRestart starts a host whose shard has much to replay, WorkloadSnapshot takes a snapshot under load; package snapshots makes them.
	WorkloadRestart  = "restart"
	WorkloadSnapshot = "snapshot"
	// WorkloadStream streams a state to a replica that was just added; package snapshots makes it, too.
	WorkloadStream = "stream"
	// WorkloadSessions is the steady one with and without client sessions, in turns; package sessions makes it.
	WorkloadSessions = "sessions"
)

// The ways to serve a linearizable read.
const (
	// ReadsByIndex confirms the leader by a round of messages (thesis 6.4).
	ReadsByIndex = "index"
	// ReadsByLease trusts the followers' promises and the clocks (thesis 6.4.1).
	ReadsByLease = "lease"
)

// DefaultConfig returns the configuration of the headline figure, for the engine of that name.
func DefaultConfig(engine string) Config {
	return Config{
		Engines:   []string{engine},
		Workload:  WorkloadSteady,
		Hosts:     3,
		Shards:    48,
		Payload:   MinPayload,
		InFlight:  10_000,
		Duration:  10 * time.Second,
		Warmup:    3 * time.Second,
		Repeat:    1,
		Reads:     ReadsByIndex,
		LogDB:     "seglog",
		Transport: "tcp",
		Seed:      1,

		ElectionTimeout: 200 * time.Millisecond,
		LogMiB:          4096,
		Entries:         1_000_000,
		StateMiB:        1024,
	}
}

// Validate reports every fault at once; each wraps ErrConfig and names the flag of the command line that sets the value.
func (c *Config) Validate(engines []Engine) error {
	var faults *multierror.Error
	for _, f := range c.flags(engines) {
		if err := f.check(); err != nil {
			faults = multierror.Append(faults, f.fault(err))
		}
	}
	faults = multierror.Append(faults, c.checkTogether(engines)...)
	return faults.ErrorOrNil()
}

// checkTogether finds the faults that no flag has alone.
func (c *Config) checkTogether(engines []Engine) []error {
	var faults []error
	refuse := func(format string, arguments ...any) {
		faults = append(faults, fmt.Errorf("%w: %w", ErrConfig, fmt.Errorf(format, arguments...)))
	}
	for _, label := range c.Engines {
		engine, known := engineNamed(engines, label)
		if known && c.ReadRatio > 0 && !engine.Reads {
			refuse("--read-ratio %g: engine %s serves writes only (accepted: 0)", c.ReadRatio, engine.Name)
		}
		if known && c.Reads == ReadsByLease && !engine.Leases {
			refuse("--reads %s: engine %s has no leases", c.Reads, engine.Name)
		}
		if known && c.SnapshotEntries > 0 && !engine.Snapshots {
			refuse("--snapshot-entries %d: engine %s takes no snapshots by itself (accepted: 0)", c.SnapshotEntries, engine.Name)
		}
		if c.Offered > 0 && (c.ReadRatio > 0 || c.Blocking || strings.HasSuffix(label, BlockingSuffix)) {
			refuse("--offered %g: an open loop has neither reads nor blocking calls", c.Offered)
		}
		if known && lacks(engine.LogDBs, c.LogDB, logDBs(engines)) {
			refuse("--logdb %s: engine %s has %s", c.LogDB, engine.Name, strings.Join(engine.LogDBs, ", "))
		}
		if known && lacks(engine.Transports, c.Transport, transports(engines)) {
			refuse("--transport %s: engine %s has %s", c.Transport, engine.Name, strings.Join(engine.Transports, ", "))
		}
	}
	for _, err := range c.checkWorkload(engines) {
		refuse("%w", err)
	}
	for _, r := range c.Require {
		if c.Workload == WorkloadSteady && r.Engine != "" && !slices.Contains(c.Engines, r.Engine) {
			refuse("--require %s: engine %s does not run (--engine %s)", r, r.Engine, strings.Join(c.Engines, ","))
		}
	}
	if c.Inject != InjectNothing && len(c.Engines) > 1 {
		refuse("--inject %s: accepted with one engine only", c.Inject)
	}
	return faults
}

// lacks says whether an engine that has a choice has not this one, which another engine has. What none has, the flag refuses.
func lacks(choices []string, choice string, all []string) bool {
	return len(choices) > 0 && !slices.Contains(choices, choice) && slices.Contains(all, choice)
}

// engineNamed finds the engine of a label.
func engineNamed(engines []Engine, label string) (Engine, bool) {
	name := strings.TrimSuffix(label, BlockingSuffix)
	i := slices.IndexFunc(engines, func(e Engine) bool { return e.Name == name })
	if i < 0 {
		return Engine{}, false
	}
	return engines[i], true
}

// load returns what the closed loop of one engine needs to know.
func (c *Config) load(label string) loadOptions {
	return loadOptions{
		shards:     c.Shards,
		inFlight:   c.InFlight,
		payload:    c.Payload,
		seed:       c.Seed,
		readRatio:  c.ReadRatio,
		blocking:   c.Blocking || strings.HasSuffix(label, BlockingSuffix),
		ownContext: c.OwnContext,
		offered:    c.Offered,
		inject:     c.Inject,
	}
}
