package engine_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// Whatever is done to a replica in whatever order, proposals, snapshots, stops, power cuts, a damaged newest snapshot while another one is kept, it has
// every acknowledged command once and in order, and what is kept is what the policy says.
func TestSnapshotsAgainstAModel(t *testing.T) {
	forKinds(t, append(inMemory, rsm.KindOnDisk), func(t *testing.T, kind rsm.Kind) {
		rapid.Check(t, func(rt *rapid.T) {
			policy := engine.SnapshotPolicy{
				Entries:     rapid.Uint64Range(2, 20).Draw(rt, "entries"),
				KeepEntries: rapid.Int64Range(-1, 10).Draw(rt, "keep"),
				Retain:      rapid.IntRange(1, 3).Draw(rt, "retain"),
				Compress:    rapid.Bool().Draw(rt, "compress"),
			}
			s := newSnapshotHost(t, kind, policy, nil)
			words, byHand, replaying := 0, uint64(0), false
			for range rapid.IntRange(1, 12).Draw(rt, "steps") {
				switch step := rapid.IntRange(0, 9).Draw(rt, "step"); {
				case step < 5:
					n := rapid.IntRange(1, 12).Draw(rt, "words")
					s.fill(words+1, words+n)
					words += n
				case step == 5 && words > 0:
					index, err := s.take(1)
					if replaying && byHand == 0 && errors.Is(err, engine.ErrNothingApplied) {
						s.wantState(words) // it came before the first entry of the replay; the next one may not
						index, err = s.take(1)
					}
					if err != nil || index < byHand {
						rt.Fatalf("snapshot at %d after one at %d: %v", index, byHand, err)
					}
					byHand = index
				case step == 6:
					s.restart()
					s.waitLeader(1)
					replaying = true
				case step == 7 && len(s.list()) > 1:
					s.run(100 * time.Millisecond)
					s.damage(s.list()[0])
					byHand = 0 // what comes next may well be older
					fallthrough
				case step == 8:
					s.powerCut()
					s.startReplica(1)
					s.waitLeader(1)
					replaying = true
				default:
					s.wantState(words)
					replaying = false
				}
				if kept := len(s.list()); kept > policy.Retain+1 { // one more between the sync and the removal
					rt.Fatalf("%d snapshots, %d are to be kept", kept, policy.Retain)
				}
			}
			s.wantState(words)
			if damaged := s.eventsOf(engine.EventReplicaDamaged); len(damaged) > 0 {
				rt.Fatalf("%v", damaged[0].Err)
			}
		})
	})
}

// A snapshot carries what who recovers from it has to know: the last entry and its term, the membership, who took it, of what kind of machine.
func TestASnapshotCarriesTheMembership(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{KeepEntries: -1, Retain: 1}, nil)
	meta := func() raftpb.SnapshotMeta {
		file, err := s.directory.Open(s.list()[0])
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		summary, err := snapshot.Verify(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		return summary.Meta
	}
	check := func(index uint64) raftpb.SnapshotMeta {
		t.Helper()
		m := meta()
		if m.ShardID != 1 || m.ReplicaID != 1 || m.Index != index || m.Term == 0 || m.Kind != raftpb.SnapshotMemory ||
			m.Config.Index == 0 || m.Config.Index > index || len(m.Config.Membership.Members) != 1 || m.Config.Membership.Members[0].Address != s.hosts[0].address {
			t.Errorf("%+v", m)
		}
		return m
	}
	s.fill(1, 5)
	first := check(s.mustTake())
	s.fill(6, 8)
	s.powerCut()
	s.startReplica(1)
	s.wantState(8)
	if second := check(s.mustTake()); second.Config.Index != first.Config.Index || second.Term <= first.Term {
		t.Errorf("%+v after %+v", second, first)
	}
	s.restart() // from a log that begins behind the membership
	s.waitLeader(1)
	s.fill(9, 9)
	if third := check(s.mustTake()); third.Config.Index != first.Config.Index {
		t.Errorf("%+v after %+v", third, first)
	}
}
