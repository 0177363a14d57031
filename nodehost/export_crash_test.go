package nodehost_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// exportCuts keeps what power cuts would leave of the directories of exports.
type exportCuts struct {
	disk   *vfs.MemFS
	random *rand.Rand

	mu     sync.Mutex // a machine on disk is saved on a worker of the host
	calls  map[errorfs.OpKind]int
	points []exportCut
}

type exportCut struct {
	what string
	left *vfs.MemFS
}

// cut keeps what is left with nothing, some and all of what was not synced. Some is drawn several times: which blocks of a file and which names are
// there is what matters.
func (c *exportCuts) cut(what string) {
	for _, kept := range []int{0, 30, 50, 50, 70, 90, 100} {
		left := c.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: c.random})
		c.points = append(c.points, exportCut{fmt.Sprintf("%s, %d %% of the rest kept", what, kept), left})
	}
}

// MaybeError implements errorfs.Injector: it cuts before each change of the directory or of what is above it.
func (c *exportCuts) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || op.Path != "/" && !strings.HasPrefix(op.Path, "/exports") {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[op.Kind]++
	c.cut(fmt.Sprintf("call %d, before kind %d of %s", len(c.points), op.Kind, op.Path))
	return nil
}

// String implements errorfs.Injector.
func (c *exportCuts) String() string { return "cuts" }

// take returns the cuts during what was done since the last call, and those at its end.
func (c *exportCuts) take() (during, end []exportCut) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.points)
	c.cut("at the end")
	during, end = c.points[:n:n], c.points[n:]
	c.points = nil
	return during, end
}

// found says whether an exported file is there after a cut. Whatever has the name of one is the snapshot, whole.
func (c *exportCut) found(t *testing.T, dir string, want nodehost.Exported) bool {
	t.Helper()
	names, err := c.left.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s: %v", c.what, err)
	}
	found := false
	for _, name := range names {
		if strings.HasSuffix(name, ".temporary") {
			continue
		}
		if found = c.left.PathJoin(dir, name) == want.Path; !found {
			t.Fatalf("%s: there is %s", c.what, name)
		}
		file, err := c.left.Open(want.Path)
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		summary, err := snapshot.Verify(file, nil)
		if err = errors.Join(err, file.Close()); err != nil || summary.Digest != want.Summary.Digest {
			t.Fatalf("%s: %+v, %v, exported was %+v", c.what, summary, err, want.Summary)
		}
	}
	return found
}

// TestExportCrashes cuts the power before every change of the disk in an export of a file and of a state machine on disk, and keeps all, some or none of what
// was not synced: there is no exported file or a whole one, and a whole one once the call has returned, also while it is exported again.
func TestExportCrashes(t *testing.T) {
	const dir = "/exports/not/there/yet"
	for name, machine := range map[string]rsm.StateMachine{"concurrent": &preparedJournal{}, "disk": &syncedJournal{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cuts := &exportCuts{disk: vfs.NewCrashableMem(), random: rand.New(rand.NewPCG(1, 1)), calls: map[errorfs.OpKind]int{}}
			c := newCluster(t, 1)
			c.dirs[0] = "/host"
			c.configure = func(_ int, config *nodehost.Config) { config.FS = errorfs.Wrap(cuts.disk, cuts) }
			c.start(0)
			c.mustStartSaved(0, machine, nil)
			for i := range 40 {
				c.propose(0, 1, strings.Repeat(fmt.Sprint("command ", i), 100)) // several blocks of the disk
			}
			cuts.take()
			for again := range 2 {
				exported, err := c.shard(0, 1).ExportSnapshot(patient(t), dir)
				if err != nil {
					t.Fatal(err)
				}
				during, end := cuts.take()
				outcomes := map[bool]int{}
				for _, point := range during {
					outcomes[point.found(t, dir, exported)]++
				}
				for _, point := range end {
					if !point.found(t, dir, exported) {
						t.Errorf("%s: the exported file is gone", point.what)
					}
				}
				if before := outcomes[false] > 0; before != (again == 0) || outcomes[true] == 0 {
					t.Errorf("export %d: %d cuts were before its file was there and %d behind that", again, outcomes[false], outcomes[true])
				}
			}
			for _, kind := range []errorfs.OpKind{errorfs.OpMkdirAll, errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpRename} {
				if cuts.calls[kind] == 0 {
					t.Errorf("no cut before a call of kind %d", kind)
				}
			}
		})
	}
}
