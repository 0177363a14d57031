package logstore

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Fill describes what a store is filled with before it is opened.
type Fill struct {
	Shards  int   `json:"shards"`  // number of shards, each with one replica
	Bytes   int64 `json:"bytes"`   // of batches over all shards
	Payload int   `json:"payload"` // of the command of each batch
}

// FillStore fills a store in a directory and then calls end, before the store is closed. It is the part of the child process:
// an end that never returns leaves the store as a kill finds it.
func FillStore(ctx context.Context, store Store, directory string, fill Fill, end func()) error {
	db, err := store.Open(directory, vfs.Default)
	if err != nil {
		return err
	}
	g := newGatherer(db)
	appenders := make([]*appender, fill.Shards)
	for i := range appenders {
		appenders[i] = newAppender(g, uint64(i+1), fill.Payload, 1, 1<<62)
	}
	written := int64(0)
	for written < fill.Bytes {
		if ctx.Err() != nil {
			_ = db.Close()
			return context.Cause(ctx)
		}
		round, err := fillRound(g, appenders, fill.Bytes-written)
		if err != nil {
			_ = db.Close()
			return err
		}
		written += round
	}
	end()
	return db.Close()
}

// roundBytes is how much of a round of all shards goes into one commit.
const roundBytes = 4 << 20

// fillRound appends one batch to each shard, as long as there is budget, some megabytes a commit.
func fillRound(g *gatherer, appenders []*appender, budget int64) (int64, error) {
	written := int64(0)
	for len(appenders) > 0 && written < budget {
		group := g.store.NewGroup()
		for len(appenders) > 0 && group.Bytes() < roundBytes && written < budget {
			a := appenders[0]
			appenders = appenders[1:]
			if err := a.addTo(group); err != nil {
				return written, err
			}
			written += int64(len(a.batch))
		}
		done := make(chan error, 1)
		g.submit(group, done)
		if err := <-done; err != nil {
			return written, fmt.Errorf("logstore: fill: %w", err)
		}
	}
	return written, nil
}
