package nodehost

import (
	"context"
	"fmt"
	"time"
)

// SetTimeouts changes the election timeout and the heartbeat interval of the replica on this host while it runs; limits and defaults are
// those of ReplicaConfig, and 0 asks for the default. What is timed counts anew from now. Nothing is stored: the replica begins with its
// ReplicaConfig again at the next start.
//
// The hosts of a shard need not change together, as long as heartbeats of whoever leads come more often than the others' timeouts
// allow: to lower both, lower the interval on every host first; to raise both, raise the timeout on every host first.
//
// Errors: ErrInvalidConfig, which lists every fault, ErrStopped, ErrFenced, the cause of ctx.
func (s *Shard) SetTimeouts(ctx context.Context, election, heartbeat time.Duration) error {
	wanted := ReplicaConfig{ElectionTimeout: election, HeartbeatInterval: heartbeat}
	var f faults
	f.times(election, heartbeat, s.host.config.ElectionTimeout)
	if err := f.err(); err != nil {
		return fmt.Errorf("shard %d: %w", s.ID(), err)
	}
	options := s.host.config.replicaOptions(&wanted).Raft
	_, err := ask(ctx, s, mayChange, func(done func(struct{}, error)) {
		s.replica.SetTimeouts(options.ElectionTimeout, options.HeartbeatInterval, func(err error) { done(struct{}{}, err) })
	})
	return err
}
