package nodehost

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
)

// StartReplica starts a replica: one that ran here before, or a first member of a new shard, or, with Join, a later one.
// It returns once the replica takes requests, which does not mean that there is a leader. The state machine comes from factory and
// is rebuilt from the log; a witness has none, and factory may be nil for it. If ctx ends first its cause is returned, MaybeApplied is true, and the start goes on. Errors:
// ErrInvalidConfig, ErrAlreadyStarted, ErrStopped, ErrStorageFailed, those of log store and factory.
func (h *NodeHost) StartReplica(ctx context.Context, config ReplicaConfig, factory rsm.Factory) error {
	if err := config.validate(&h.config); err != nil {
		return err
	}
	if factory == nil && !config.Witness && !slices.Contains(config.Witnesses, config.ReplicaID) {
		return fmt.Errorf("%w: factory is nil", ErrInvalidConfig)
	}
	return h.await(ctx, func(done func(error)) {
		h.engine.StartReplica(h.config.replicaOptions(&config), factory, func(r *engine.Replica, err error) {
			if err == nil {
				h.register(r, &config)
			}
			done(err)
		})
	})
}

// StopReplica stops a replica and returns once its state machine is closed and all of its writes are done. A leader first hands
// its leadership over, for at most one election timeout, and refuses proposals with ErrTransferring meanwhile; then pending
// requests are answered. If ctx ends first the stop goes on. Errors: ErrNotStarted, ErrStopped, ErrStuck if the state machine or a
// write does not end within Tuning.MaxStopWait (the stop goes on, and until its end the shard counts as started), the
// state machine's from Close.
func (h *NodeHost) StopReplica(ctx context.Context, shardID uint64) error {
	shard, err := h.Shard(shardID)
	if err != nil {
		return err
	}
	return h.await(ctx, func(done func(error)) {
		h.engine.StopReplica(shard.replica, func(err error) {
			h.forget(shard)
			done(err)
		})
	})
}

// RemoveReplicaData removes everything that is stored of a replica which does not run here, durably: ErrAlreadyStarted while its
// shard does. A replica that is started under the same IDs later is a new one. If ctx ends first the removal goes on.
func (h *NodeHost) RemoveReplicaData(ctx context.Context, shardID, replicaID uint64) error {
	if shardID == 0 || replicaID == 0 {
		return fmt.Errorf("%w: shard %d, replica %d, accepted is 1 and above", ErrInvalidConfig, shardID, replicaID)
	}
	return h.await(ctx, func(done func(error)) { h.engine.RemoveReplicaData(shardID, replicaID, done) })
}

// await runs an operation of the engine that Close has to wait for, and waits for its end or that of ctx.
func (h *NodeHost) await(ctx context.Context, operation func(done func(error))) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := h.begin(); err != nil {
		return err
	}
	answer := make(chan error, 1)
	operation(func(err error) {
		answer <- err
		h.end()
	})
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return abandon(ctx)
	case <-h.stopped:
	}
	select {
	case err := <-answer:
		return err
	default: // Close did not wait any longer
		return fmt.Errorf("%w: the host was closed before the disk answered", ErrStuck)
	}
}

func (h *NodeHost) register(r *engine.Replica, config *ReplicaConfig) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shards[r.ShardID()] = &Shard{
		host: h, replica: r, stopped: make(chan struct{}), maxSessions: cmp.Or(config.MaxSessions, DefaultMaxSessions),
	}
}

// forget takes a stopped shard from the list; it is not there any more if two stops met.
func (h *NodeHost) forget(shard *Shard) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if id := shard.replica.ShardID(); h.shards[id] == shard {
		delete(h.shards, id)
		close(shard.stopped)
	}
}

func (h *NodeHost) lookup(shardID uint64) *Shard {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.shards[shardID]
}

// Shard returns the handle of a shard that runs here, or ErrNotStarted. The handle stays valid until the replica is
// stopped; a replica that is started again has a new one. Keep it: it spares a look-up per request.
func (h *NodeHost) Shard(shardID uint64) (*Shard, error) {
	if shard := h.lookup(shardID); shard != nil {
		return shard, nil
	}
	return nil, fmt.Errorf("%w: shard %d", ErrNotStarted, shardID)
}
