package nodehost

import (
	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
	"github.com/flotilla-raft/flotilla/transport/tcp"
)

// SegmentedLog returns a Config.LogDB that opens the segmented log (package plugin/seglog): one stream of segment files for all shards. Dir,
// FS, Owner and Logger of the options are filled in. It is the default, with options that are all zero.
//
//	config.LogDB = nodehost.SegmentedLog(seglog.Options{Directories: []string{"/device2/log"}}) // the log is on two devices
func SegmentedLog(options seglog.Options) func(LogDBContext) (logdb.LogDB, error) {
	return func(c LogDBContext) (logdb.LogDB, error) {
		options := options
		options.Dir, options.FS, options.Owner, options.Logger = c.Dir, c.FS, c.HostID, c.Logger
		if len(options.Directories) > 0 {
			return seglog.OpenLanes(options)
		}
		return seglog.Open(options)
	}
}

// PebbleLog returns a Config.LogDB that opens the log store on Pebble (package logdb/pebblelog). Dir, FS and Logger of the options are filled in.
//
//	config.LogDB = nodehost.PebbleLog(pebblelog.Options{})
func PebbleLog(options pebblelog.Options) func(LogDBContext) (logdb.LogDB, error) {
	return func(c LogDBContext) (logdb.LogDB, error) {
		options := options
		options.Dir, options.FS, options.Logger = c.Dir, c.FS, c.Logger
		return pebblelog.Open(options)
	}
}

// newTCP is the default of Config.Transport.
func newTCP(c TransportContext) (transport.Transport, error) {
	return tcp.New(tcp.Options{
		ListenAddress:    c.ListenAddress,
		AdvertiseAddress: c.Identity.Address,
		Identity:         c.Identity,
		TLS:              c.TLS,
		Logger:           c.Logger,
		MaxFrameBytes:    c.MaxFrameBytes,
		Seed:             c.Seed,
	})
}

// frameBytes is the size of frame that the largest Replicate message needs: one command above MaxMessageBytes travels alone.
func (c *Config) frameBytes() int {
	return max(tcp.DefaultMaxFrameBytes, c.MaxCommandBytes+c.MaxBatchBytes+c.Tuning.MaxMessageBytes+1<<20)
}

func (c *Config) engineOptions() engine.Options {
	t := &c.Tuning
	return engine.Options{
		Address:                      c.Address,
		Clock:                        c.Clock,
		Logger:                       c.Logger,
		StepWorkers:                  t.StepWorkers,
		LogReaders:                   t.LogReaders,
		ApplyWorkers:                 t.ApplyWorkers,
		MaxApplyWorkers:              t.MaxApplyWorkers,
		MaxCommandBytes:              c.MaxCommandBytes,
		MaxBatchBytes:                c.MaxBatchBytes,
		MaxOpenBytes:                 t.MaxOpenBytes,
		MaxOpenReads:                 t.MaxOpenReads,
		MaxQueueDelay:                t.MaxQueueDelay,
		RequestTimeout:               c.RequestTimeout,
		MaxWriteBytes:                t.MaxWriteBytes,
		MaxStall:                     t.MaxStall,
		MaxStopWait:                  t.MaxStopWait,
		PromiseInterval:              t.PromiseInterval,
		MaxEvents:                    t.MaxEvents,
		SnapshotWorkers:              t.SnapshotWorkers,
		RecoverWorkers:               t.RecoverWorkers,
		SnapshotShare:                t.SnapshotShare,
		StreamWorkers:                t.StreamWorkers,
		SnapshotSendBytesPerSecond:   t.SnapshotSendBytesPerSecond,
		SnapshotStreamBytesPerSecond: t.SnapshotStreamBytesPerSecond,
	}
}

func (c *Config) replicaOptions(replica *ReplicaConfig) engine.ReplicaOptions {
	options := engine.ReplicaOptions{
		ShardID:            replica.ShardID,
		ReplicaID:          replica.ReplicaID,
		Members:            replica.Members,
		Kinds:              replica.kinds(),
		Priorities:         replica.Priorities,
		Join:               replica.Join,
		SkipBootstrapCheck: replica.SkipBootstrapCheck,
		Snapshots:          replica.Snapshots,
		Audit:              replica.Audit,
		Raft: raft.Options{
			Witness:             replica.Witness,
			DisableHealing:      replica.DisableHealing,
			ElectionTimeout:     replica.ElectionTimeout,
			HeartbeatInterval:   replica.HeartbeatInterval,
			LeaseRead:           replica.LeaseRead,
			MaxClockDrift:       replica.MaxClockDrift,
			MaxMessageBytes:     c.Tuning.MaxMessageBytes,
			MaxInflightBytes:    c.Tuning.MaxInflightBytes,
			MaxInflightMessages: c.Tuning.MaxInflightMessages,
			MaxUncommittedBytes: c.Tuning.MaxUncommittedBytes,
			MaxBacklogBytes:     c.Tuning.MaxBacklogBytes,
		},
	}
	if replica.ElectionTimeout == 0 {
		options.Raft.ElectionTimeout = c.ElectionTimeout
		setDefault(&options.Raft.HeartbeatInterval, c.HeartbeatInterval)
	}
	setDefault(&options.Raft.HeartbeatInterval, options.Raft.ElectionTimeout/DefaultHeartbeatFraction)
	return options
}

// kinds returns what the first members are that are no voters.
func (c *ReplicaConfig) kinds() map[uint64]raftpb.MemberKind {
	kinds := make(map[uint64]raftpb.MemberKind, len(c.Learners)+len(c.Witnesses))
	for _, id := range c.Learners {
		kinds[id] = raftpb.Learner
	}
	for _, id := range c.Witnesses {
		kinds[id] = raftpb.Witness
	}
	return kinds
}
