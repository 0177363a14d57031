package simulation

import (
	"errors"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/internal/rebuild"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// hostDirectory is where a host keeps an import that was decided, beside its snapshots.
const hostDirectory = "host"

var errPower = errors.New("simulation: the power was cut")

// operatorLog is the log store of a host that does not run, in the hands of its operator: a Commit that is not cut has ended when it returns.
type operatorLog struct {
	*disk
	snapshots *snapshotFiles
	cut       func() bool // what is handed over next is cut
}

// Commit implements logdb.LogDB.
func (l *operatorLog) Commit(groups []logdb.Group, done func(error)) {
	if l.snapshots.struck() { // what comes now comes too late
		done(errPower)
		return
	}
	ended := false
	l.disk.Commit(groups, func(err error) {
		if !ended {
			ended = true
			done(err)
		}
	})
	if l.cut != nil && l.cut() {
		ended = true
		done(errPower)
		return
	}
	for !ended {
		l.disk.store.Complete(1)
	}
}

// struck says that the power was cut.
func (f *snapshotFiles) struck() bool {
	f.files.mu.Lock()
	defer f.files.mu.Unlock()
	return f.files.image != nil
}

// stores are those of a host that does not run.
func (h *host) stores(directory *snapshot.Directory, cut func() bool) *rebuild.Stores {
	return &rebuild.Stores{FS: h.snapshots.files, Dir: hostDirectory, Log: &operatorLog{disk: h.disk, snapshots: h.snapshots, cut: cut},
		Snapshots: directory, Promises: hostPromises{h}}
}

// decidedImport returns of which shard an import was decided on a host and is not known to be finished, and the incarnation that it gives; 0 if none was.
func (h *host) decidedImport() (shardID, incarnation uint64) {
	memory := h.snapshots.memory
	file, err := memory.Open(memory.PathJoin(hostDirectory, "import"))
	if err != nil {
		return 0, 0
	}
	reader, err := snapshot.NewReader(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return 0, 0
	}
	meta := reader.Meta()
	for i := range meta.Config.Membership.Members {
		if member := &meta.Config.Membership.Members[i]; member.ReplicaID == meta.ReplicaID {
			incarnation = member.Incarnation
		}
	}
	return meta.ShardID, incarnation
}

// finishImport finishes an import that was decided. The shard may have been rebuilt once more since: then what is written is of the life
// before, and is judged by that. If the power goes meanwhile, it is so until it is known what of it is there, and the caller calls finished then.
func (h *host) finishImport(stores *rebuild.Stores) error {
	shardID, incarnation := h.decidedImport()
	if shardID == 0 {
		return stores.FinishImport()
	}
	h.overtakes = h.places[shardID-1]
	for p := h.overtakes; p != nil; p = p.former {
		if p.begins == incarnation {
			h.places[shardID-1] = p
			break
		}
	}
	if err := stores.FinishImport(); err != nil {
		return err
	}
	h.finished()
	return nil
}

// finished puts the place of the present life of a shard back.
func (h *host) finished() {
	if p := h.overtakes; p != nil {
		h.places[p.shard.id-1], h.overtakes = p, nil
	}
}

// hostPromises is a host's record of promises.
type hostPromises struct{ host *host }

// Promised implements engine.PromiseStore.
func (p hostPromises) Promised(key logdb.ReplicaKey) raft.Promised {
	return p.host.promise.Promised(key)
}

// Record implements engine.PromiseStore.
func (p hostPromises) Record(records []engine.PromiseRecord) error {
	if p.host.snapshots.struck() {
		return errPower
	}
	return p.host.promise.Record(records)
}

// Replicas implements rebuild.Promises.
func (p hostPromises) Replicas() (keys []logdb.ReplicaKey) {
	for _, place := range p.host.places {
		if place == nil {
			continue
		}
		if _, there := p.host.promise.records[keyOf(place)]; there {
			keys = append(keys, keyOf(place))
		}
	}
	return keys
}
