package dragonboat

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// TestTanIsRefusedWithoutRoom: a thousand shards on a small disk once filled it, and ended the process.
func TestTanIsRefusedWithoutRoom(t *testing.T) {
	options := benchmark.ClusterOptions{Hosts: 3, Shards: 1 << 30, Directory: t.TempDir()}
	if _, err := tanEngine().Start(context.Background(), options); !errors.Is(err, ErrNoRoom) {
		t.Errorf("got %v", err)
	}
	options.Directory += "/missing"
	if _, err := tanEngine().Start(context.Background(), options); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
