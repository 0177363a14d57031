package nodehost_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// verified reads an exported file to its end.
func verified(t testing.TB, path string) snapshot.Summary {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	summary, err := snapshot.Verify(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return summary
}

// TestExport exports all kinds of state machines from leaders and followers alike: what comes out is what a Writer wrote, and nothing else is left.
func TestExport(t *testing.T) {
	for name, test := range map[string]struct {
		make func() rsm.StateMachine
		kind raftpb.SnapshotKind
	}{
		"memory":     {func() rsm.StateMachine { return &savedJournal{} }, raftpb.SnapshotMemory},
		"concurrent": {func() rsm.StateMachine { return &preparedJournal{} }, raftpb.SnapshotMemory},
		"disk":       {func() rsm.StateMachine { return &syncedJournal{} }, raftpb.SnapshotDisk},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 1)
			c.start(0)
			c.mustStartSaved(0, test.make(), nil)
			for i := range 30 {
				c.propose(0, 1, strings.Repeat("x", i))
			}
			shard, err := c.hosts[0].Shard(1)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "not", "there", "yet")
			first, err := shard.ExportSnapshot(patient(t), dir)
			if err != nil {
				t.Fatal(err)
			}
			c.propose(0, 1, "one more")
			second, err := shard.ExportSnapshot(patient(t), dir)
			if err != nil {
				t.Fatal(err)
			}
			again, err := shard.ExportSnapshot(patient(t), dir)
			if err != nil || again.Path != second.Path {
				t.Errorf("without anything new: %+v, %v", again, err)
			}
			if first.Path == second.Path || !strings.HasPrefix(filepath.Base(first.Path), "shard-1-index-") {
				t.Errorf("exported to %s, then to %s", first.Path, second.Path)
			}
			for _, exported := range []nodehost.Exported{first, again} {
				if got := verified(t, exported.Path); got.Digest != exported.Summary.Digest || got.Meta.Kind != test.kind || got.Meta.ShardID != 1 {
					t.Errorf("%s holds %+v, said was %+v", exported.Path, got, exported.Summary)
				}
			}
			if names, err := os.ReadDir(dir); err != nil || len(names) != 2 {
				t.Errorf("%v, %v, want two files", names, err)
			}
		})
	}
}

func TestExportFailsWithoutATrace(t *testing.T) {
	c := newCluster(t, 1)
	c.start(0)
	fault := errors.New("cannot be saved")
	machine := &syncedJournal{}
	c.mustStartSaved(0, machine, nil)
	c.propose(0, 1, "one")
	shard, err := c.hosts[0].Shard(1)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	export := func(ctx context.Context, dir string) error {
		_, err := shard.ExportSnapshot(ctx, dir)
		return err
	}
	ended, cancel := context.WithCancelCause(context.Background())
	cancel(fault)
	if err := export(ended, dir); !errors.Is(err, fault) {
		t.Errorf("with a context that had ended: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := export(patient(t), filepath.Join(file, "below")); !errors.Is(err, nodehost.ErrSnapshotFailed) {
		t.Errorf("into what is no directory: %v", err)
	}
	machine.saving = func() error { return fault }
	if err := export(patient(t), dir); !errors.Is(err, nodehost.ErrSnapshotFailed) || !errors.Is(err, fault) {
		t.Errorf("of a state machine that fails: %v", err)
	}
	leaving, leave := context.WithCancelCause(context.Background())
	entered, release := make(chan struct{}), make(chan struct{})
	machine.saving = func() error { close(entered); <-release; return nil }
	answer := make(chan error)
	go func() { answer <- export(leaving, dir) }()
	<-entered
	leave(fault)
	if err := <-answer; !errors.Is(err, fault) {
		t.Errorf("whose caller left: %v", err)
	}
	close(release)
	if err := c.hosts[0].StopReplica(patient(t), 1); err != nil { // waits for the export
		t.Fatal(err)
	}
	if err := export(patient(t), dir); !errors.Is(err, nodehost.ErrStopped) {
		t.Errorf("of a stopped replica: %v", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("%v, %v, want nothing but the file that was there", names, err)
	}
}
