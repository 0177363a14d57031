package seglog

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// laneCrash runs a history on lanes and cuts the power around every sync, those of the first start included.
type laneCrash struct {
	t       *testing.T
	h       *history
	memory  *vfs.MemFS
	random  *rand.Rand
	durable []int // by replica: all up to its last commit that was done and had to be synced
	begun   int
	points  int
}

func (c *laneCrash) open(fs vfs.FS) (*Lanes, error) { return OpenLanes(manualLanes(fs, "b/log", "c")) }

// cut opens what a power cut leaves now. Each replica holds a prefix of its own: only within a lane is there an order.
func (c *laneCrash) cut(where string) {
	c.points++
	image := c.memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.random.IntN(3) * 50, RNG: c.random})
	l, err := c.open(image)
	if err != nil {
		c.t.Fatalf("%s, %d begun: %v", where, c.begun, err)
	}
	for i, key := range c.h.keys {
		got, err := fingerprintOne(l, key)
		if err != nil {
			c.t.Fatalf("%s, %d begun: %v: %v", where, c.begun, key, err)
		}
		if !slices.ContainsFunc(c.h.states[c.durable[i]:c.begun+1], func(state []string) bool { return state[i] == got }) {
			c.t.Fatalf("%s: %v: %.300s\nis none of its states between %d and %d", where, key, got, c.durable[i], c.begun)
		}
	}
	if err := l.Close(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *laneCrash) run(fs vfs.FS, changes []change) {
	l, err := c.open(fs)
	if err != nil {
		c.t.Fatal(err)
	}
	var now time.Duration
	for _, change := range changes {
		c.begun++
		n, done := c.begun, false
		commit(c.t, l, change, func(err error) {
			if err != nil {
				c.t.Fatal(err)
			}
			if done = true; change.mustSync {
				c.durable[slices.Index(c.h.keys, change.key)] = n
			}
		})
		for turns := 0; turns < 4 || !done; turns++ {
			now += time.Duration(c.random.IntN(2_000_000))
			l.RunOnce(now)
		}
	}
	if err := l.Close(); err != nil {
		c.t.Fatal(err)
	}
}

// What was acknowledged is there after a power cut whichever lane it is in, and lanes that were cut while they were begun or while one
// was added open again.
func TestCrashOfLanes(t *testing.T) {
	for seed := range uint64(share(3, 1)) {
		t.Run(fmt.Sprintf("seed%d", seed), func(t *testing.T) {
			w := newWorkload(seed, 8, 3000)
			c := &laneCrash{t: t, h: draw(t, w, 80), memory: vfs.NewCrashableMem(), random: rand.New(rand.NewPCG(seed, 12))}
			c.durable = make([]int, len(c.h.keys))
			cutting := false
			fs := errorfs.Wrap(c.memory, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if !cutting && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpRename) {
					cutting = true
					c.cut(fmt.Sprintf("cut before point %d, of %s", c.points, op.Path))
					cutting = false
				}
				return nil
			}))
			half := len(c.h.changes) / 2
			c.run(fs, c.h.changes[:half])
			c.run(fs, c.h.changes[half:])
			if c.points < 80 {
				t.Errorf("only %d points", c.points)
			}
		})
	}
}
