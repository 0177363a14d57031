package engine

import (
	"context"
	"time"

	"github.com/flotilla-raft/flotilla/raft"
)

// pacer keeps what goes on beside the work of a shard from taking more than a share of a processor, and of the disk: after so much time of its
// own it sleeps for as much longer. Time counts, not bytes, so it gives way by itself where processor or disk are short, and needs to
// know of neither.
//
// Only what Updates do not wait for is paced: a state machine that is paused for its Save is to be through with it. An engine that is driven by
// hand has nobody who could sleep; there is Options.Yield for that.
type pacer struct {
	clock   Clock
	share   float64
	resumed raft.Instant
}

const (
	paceSlice = 2 * time.Millisecond   // shorter sleeps are not worth it
	paceLimit = 100 * time.Millisecond // a write that the disk has held up for long is no work of ours
)

// pause sleeps if it is time for it; the end of ctx ends the sleep.
func (p *pacer) pause(ctx context.Context) {
	busy := time.Duration(p.clock.Now() - p.resumed)
	if p.share >= 1 || busy < paceSlice {
		return
	}
	timer := time.NewTimer(min(paceLimit, time.Duration(float64(busy)*(1/p.share-1))))
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	timer.Stop()
	p.resumed = p.clock.Now()
}
