package logdbtest

import (
	"strings"
	"testing"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/modellog"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// broken is a store that does something else with a save than it was told, or says something else than it holds.
type broken struct {
	*modellog.Log
	save func(*raftpb.Save)
	load func(*raftpb.Stored)
}

func (b *broken) NewGroup() logdb.Group { return &brokenGroup{b.Log.NewGroup().(*modellog.Group), b} }

func (b *broken) Commit(groups []logdb.Group, done func(error)) {
	inner := make([]logdb.Group, len(groups))
	for i := range groups {
		inner[i] = groups[i].(*brokenGroup).Group
	}
	b.Log.Commit(inner, done)
}

func (b *broken) Load(key logdb.ReplicaKey) (raftpb.Stored, error) {
	stored, err := b.Log.Load(key)
	if b.load != nil {
		b.load(&stored)
	}
	return stored, err
}

type brokenGroup struct {
	*modellog.Group
	store *broken
}

func (g *brokenGroup) Save(save *raftpb.Save) error {
	changed := *save
	if g.store.save != nil {
		g.store.save(&changed)
	}
	return g.Group.Save(&changed)
}

// TestInstallingRejectsBrokenStores: each is wrong in one thing, and the clause says so.
func TestInstallingRejectsBrokenStores(t *testing.T) {
	for _, c := range []struct {
		name, want string
		save       func(*raftpb.Save)
		load       func(*raftpb.Stored)
		forgets    bool // what is being installed, at a restart
	}{
		{name: "none", want: ""},
		{name: "the log stays", want: "follows", save: func(s *raftpb.Save) { s.Installing = nil }},
		{name: "the snapshot is not remembered", want: "after the snapshot", save: func(s *raftpb.Save) { s.Installed = true }},
		{name: "it is not remembered over a restart", want: "after a restart", forgets: true},
		{name: "it is remembered for ever", want: "once it is installed", save: func(s *raftpb.Save) { s.Installed = false }},
		{name: "any change of the log ends it", want: "after a truncation", save: func(s *raftpb.Save) { s.Installed = s.Installed || s.TruncateFrom != 0 }},
		{name: "without its membership", want: "after the snapshot", load: func(s *raftpb.Stored) {
			if s.Installing != nil {
				s.Configs = s.Configs[1:]
			}
		}},
		{name: "with memberships of the log before", want: "after the snapshot", load: func(s *raftpb.Stored) {
			if s.Installing != nil {
				s.Configs = append([]raftpb.ConfigRecord{config(3)}, s.Configs...)
			}
		}},
		{name: "another term", want: "after the snapshot", load: func(s *raftpb.Stored) { s.CompactedTerm++ }},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := &broken{Log: modellog.New(modellog.Options{Automatic: true}), save: c.save, load: c.load}
			err := checkBroken(store, c.forgets)
			if got := err == ""; got != (c.want == "") || !strings.Contains(err, c.want) {
				t.Errorf("%q, want one with %q", err, c.want)
			}
		})
	}
}

// checkBroken holds the clause against a store; a panic of the model, which refuses what no log can be, counts as noticed.
func checkBroken(store *broken, forgets bool) (fault string) {
	defer func() {
		if value := recover(); value != nil {
			fault = "the log that is begun follows another one"
		}
	}()
	err := checkInstalling(store, func() (logdb.LogDB, error) {
		if err := store.Log.Close(); err != nil {
			return nil, err
		}
		store.Log = store.Log.Reopen()
		if forgets {
			store.load = func(s *raftpb.Stored) { s.Installing = nil }
		}
		return store, nil
	})
	if err != nil {
		return err.Error()
	}
	return ""
}
