package snapshots

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm/kv"
)

const (
	valueBytes = 64 << 10
	fillers    = 16
)

// fillState puts as many MiB into a shard whose state machine takes the commands of package kv, in values of random bytes.
func fillState(ctx context.Context, shard *nodehost.Shard, mib int) error {
	random := make([]byte, 2*valueBytes)
	_, _ = rand.Read(random) // never fails
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	for filler := range fillers {
		work.Go(func() {
			for item := filler; item < mib<<20/valueBytes; item += fillers {
				at := item * 509 % valueBytes // values differ
				if _, err := shard.Propose(ctx, kv.Put(binary.BigEndian.AppendUint64(nil, uint64(item)), random[at:at+valueBytes])); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	work.Wait()
	return context.Cause(ctx)
}
