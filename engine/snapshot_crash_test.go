package engine_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb/modellog"
	"github.com/flotilla-raft/flotilla/rsm"
)

// crashPoint is what a power cut at one moment leaves.
type crashPoint struct {
	what         string
	fs           *vfs.MemFS
	log          *modellog.Log
	disk         platter
	acknowledged int
	proposed     int
}

// crashRun is a host under load whose power may be cut at any moment: each is noted, and the run goes on.
type crashRun struct {
	*snapshotHost
	random       *rand.Rand
	mem          *vfs.MemFS
	acknowledged int
	proposed     int
	points       []crashPoint
}

// note remembers what the power cut would leave now: of the files and of the log a random part of what was not synced.
func (r *crashRun) note(what string) {
	disk := *r.disk
	disk.crash()
	r.points = append(r.points, crashPoint{
		what:         what,
		fs:           r.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.random.IntN(3) * 50, RNG: r.random}),
		log:          r.hosts[0].log.CrashClone(func(writes int) int { return r.random.IntN(writes + 1) }),
		disk:         disk,
		acknowledged: r.acknowledged,
		proposed:     r.proposed,
	})
}

// crashPoints runs a load with a snapshot every few entries, and notes the moment before each call of the file system and, now and then,
// one between two workers.
func crashPoints(t *testing.T, seed uint64, kind rsm.Kind, policy engine.SnapshotPolicy, wrap func(vfs.FS) vfs.FS) []crashPoint {
	r := &crashRun{random: rand.New(rand.NewPCG(uint64(kind), seed)), mem: vfs.NewCrashableMem()}
	armed := false
	r.snapshotHost = &snapshotHost{kind: kind, policy: policy, fs: r.mem, hooks: &hooks{}, disk: &platter{}}
	r.files = wrap(errorfs.Wrap(r.mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if armed && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			r.note(fmt.Sprintf("call %v of %s", op.Kind, op.Path))
		}
		return nil
	})))
	r.hooks.sync = func() error { r.note("sync of the state machine"); return nil }
	r.testCluster = newTestCluster(t, 1, r.change)
	r.startReplica(1)
	r.waitLeader(1)
	armed = true
	for r.proposed < 40 {
		r.proposed++
		done := false
		if err := r.hosts[0].replicas[1].Propose([]byte(wordOf(r.proposed)), 0, func(_ rsm.Result, err error) {
			if done = true; err != nil {
				t.Error(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		for end := r.now + 1; !done || r.now < end; {
			if r.random.IntN(8) == 0 {
				r.note("between two workers")
			}
			if !r.step() {
				r.advance()
			}
		}
		r.acknowledged = r.proposed
	}
	return r.points
}

// check starts a host on what a crash has left, and reports what is wrong with it.
func (p *crashPoint) check(t *testing.T, kind rsm.Kind, policy engine.SnapshotPolicy) error {
	disk := p.disk
	s := &snapshotHost{kind: kind, policy: policy, fs: p.fs, files: p.fs, hooks: &hooks{}, disk: &disk}
	s.testCluster = newTestCluster(t, 1, s.change)
	h := s.hosts[0]
	h.log = p.log
	h.log.SetAutomatic(true)
	_ = h.transport.Close()
	h.open(s.change)
	r, err := s.tryStart(1)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	h.replicas[1] = r
	for end := s.now + 20_000_000_000; s.leader(1) == nil; {
		if !s.step() {
			s.advance()
		}
		if s.now > end {
			return fmt.Errorf("it does not lead: %+v", s.events)
		}
	}
	list := s.state()
	if len(list) < p.acknowledged || len(list) > p.proposed {
		return fmt.Errorf("%d words, %d of %d were acknowledged", len(list), p.acknowledged, p.proposed)
	}
	for i, word := range list {
		if word != wordOf(i+1) {
			return fmt.Errorf("word %d is %q", i+1, word)
		}
	}
	if damaged := s.eventsOf(engine.EventSnapshotDamaged); len(damaged) > 0 {
		return fmt.Errorf("half a snapshot: %w", damaged[0].Err)
	}
	if _, err := s.take(1); err != nil && len(list) > 0 {
		return fmt.Errorf("the next snapshot: %w", err)
	}
	return nil
}

var crashPolicies = []engine.SnapshotPolicy{
	{Entries: 4, KeepEntries: -1, Retain: 1},
	{Entries: 6, KeepEntries: 2, Retain: 2},
}

// The power is cut before each call of the file system while snapshots are taken and log is let go of, and between workers. Whatever it leaves, the
// next start has everything that was acknowledged, in order and once, and no half snapshot is ever met.
func TestACrashAtAnyPointOfASnapshotLosesNothing(t *testing.T) {
	forKinds(t, append(inMemory, rsm.KindOnDisk), func(t *testing.T, kind rsm.Kind) {
		points := 0
		for seed := range uint64(6) {
			for _, policy := range crashPolicies {
				noted := crashPoints(t, seed, kind, policy, func(fs vfs.FS) vfs.FS { return fs })
				for i := range noted {
					if err := noted[i].check(t, kind, policy); err != nil {
						t.Errorf("seed %d, point %d of %d, %s: %v", seed, i, len(noted), noted[i].what, err)
					}
				}
				points += len(noted)
			}
		}
		if points < 300 {
			t.Errorf("only %d points", points)
		}
	})
}

// The test above would notice if what is published were not synced: with syncs that do nothing it fails.
func TestACrashWithoutSyncsIsNoticed(t *testing.T) {
	for _, kind := range inMemory {
		policy := crashPolicies[0]
		wrong := 0
		points := crashPoints(t, 0, kind, policy, func(fs vfs.FS) vfs.FS { return unsynced{fs} })
		for i := range points {
			if points[i].check(t, kind, policy) != nil {
				wrong++
			}
		}
		if wrong == 0 {
			t.Errorf("%s: nothing is lost without syncs, at %d points", kind, len(points))
		}
	}
}

// unsynced is a file system whose syncs do nothing.
type unsynced struct{ vfs.FS }

func (u unsynced) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := u.FS.Create(name, category)
	return unsyncedFile{file}, err
}

func (u unsynced) OpenDir(name string) (vfs.File, error) {
	file, err := u.FS.OpenDir(name)
	return unsyncedFile{file}, err
}

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error { return nil }
