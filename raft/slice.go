package raft

import (
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

func (o *Options) Validate() error { return nil }

func New(now Instant, options Options, stored raftpb.Stored, promised Promised, cache Cache) (*Core, error) {
	return &Core{options: options, membership: &stored.Bootstrap.Initial}, nil
}
func (c *Core) Step(now Instant, m *raftpb.Message)               {}
func (c *Core) Tick(now Instant)                                  {}
func (c *Core) Deadline() Instant                                 { return Never }
func (c *Core) Propose(now Instant, b raftpb.Batch) raftpb.Reason { return raftpb.ReasonNotLeader }
func (c *Core) ReadIndex(now Instant, id uint64) raftpb.Reason    { return raftpb.ReasonNotLeader }
func (c *Core) TransferLeader(now Instant, id, target uint64) raftpb.Reason {
	return raftpb.ReasonNotLeader
}
func (c *Core) ProposeMembership(now Instant, m raftpb.Membership) raftpb.Reason {
	return raftpb.ReasonNotLeader
}
func (c *Core) Saved(now Instant, number uint64)                                      {}
func (c *Core) LogReadDone(now Instant, r LogRead, batches []raftpb.Batch, err error) {}
func (c *Core) Applied(index uint64)                                                  {}
func (c *Core) Compact(index uint64)                                                  {}
func (c *Core) Unreachable(now Instant, replica uint64)                               {}
func (c *Core) SetStorage(now Instant, s StorageState)                                {}
func (c *Core) Quarantine(now Instant)                                                {}
func (c *Core) Stop(now Instant)                                                      {}
func (c *Core) Drain(out *Output)                                                     {}
func (c *Core) Dirty() bool                                                           { return false }
func (c *Core) Membership() *raftpb.Membership                                        { return c.membership }
func (c *Core) Leader() (replica, term uint64)                                        { return c.leader, c.term }
func (c *Core) Role() Role                                                            { return c.role }
func (c *Core) IsLeader() bool                                                        { return c.role == RoleLeader }
func (c *Core) Commit() uint64                                                        { return c.commit }
func (c *Core) LastIndex() uint64                                                     { return 0 }
func (c *Core) Durable() uint64                                                       { return 0 }
func (c *Core) UncommittedBatches() int                                               { return 0 }
func (c *Core) UncommittedEntries() int                                               { return 0 }
func (c *Core) Status() Status                                                        { return Status{} }
func (c *Core) MinRoundTrip() time.Duration                                           { return 0 }
