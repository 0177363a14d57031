package rebuild

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// ErrRecoverRefused says that a shard is not rebuilt from a replica, and why. Nothing was changed.
var ErrRecoverRefused = errors.New("flotilla: shard is not recovered")

// Recovery is a survivor from which its shard is to be rebuilt.
type Recovery struct {
	Key    logdb.ReplicaKey
	Stored raftpb.Stored
	// Former is the membership that the survivor knows.
	Former raftpb.Membership

	stores *Stores
}

// Find looks for the survivor and what it knows of the members. replicaID 0 stands for the only replica of the shard.
func Find(stores *Stores, shardID, replicaID uint64) (*Recovery, error) {
	r := &Recovery{stores: stores}
	refuse := func(format string, arguments ...any) (*Recovery, error) {
		return nil, fmt.Errorf("%w: %s: %s", ErrRecoverRefused, stores.Dir, fmt.Sprintf(format, arguments...))
	}
	keys, err := stores.Log.List()
	if err != nil {
		return nil, err
	}
	keys = slices.DeleteFunc(keys, func(key logdb.ReplicaKey) bool {
		return key.ShardID != shardID || replicaID != 0 && key.ReplicaID != replicaID
	})
	if len(keys) != 1 {
		return refuse("it has %d replicas of shard %d that are meant, want 1", len(keys), shardID)
	}
	r.Key = keys[0]
	if r.Stored, err = stores.Log.Load(r.Key); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecoverRefused, err)
	}
	r.Former = r.Stored.Bootstrap.Initial
	if n := len(r.Stored.Configs); n > 0 {
		r.Former = r.Stored.Configs[n-1].Membership
	}
	self := r.self()
	switch {
	case r.Stored.Last == 0:
		return refuse("replica %d has nothing: nothing can be rebuilt from it", r.Key.ReplicaID)
	case self == nil:
		return refuse("replica %d is no member of the membership that it knows", r.Key.ReplicaID)
	case self.Kind == raftpb.Witness:
		return refuse("replica %d is a witness, which has no data", r.Key.ReplicaID)
	}
	return r, nil
}

func (r *Recovery) self() *raftpb.Member {
	for i := range r.Former.Members {
		if r.Former.Members[i].ReplicaID == r.Key.ReplicaID {
			return &r.Former.Members[i]
		}
	}
	return nil
}

// Risks are the reasons against it that lie in the survivor.
func (r *Recovery) Risks() (risks []string) {
	add := func(format string) { risks = append(risks, fmt.Sprintf(format, r.Key.ReplicaID)) }
	promised, last := r.stores.Promises.Promised(r.Key), LastTerm(&r.Stored)
	if promised.Term > last || promised.Term == last && promised.Index > r.Stored.Last {
		add("replica %d has lost entries that it acknowledged: what was decided may be missing")
	}
	if promised.VoteTerm > r.Stored.State.Term {
		add("replica %d is marked as one that lost something: what was decided may be missing")
	}
	self := r.self()
	if r.Stored.Bootstrap.Incarnation == 0 {
		add("replica %d has lost the record of who it is: what was decided may be missing")
	}
	if self.Incarnation != 0 && self.Incarnation != r.Stored.Bootstrap.Incarnation {
		add("replica %d has lost its state once, and was not healed to the end: what was decided may be missing")
	}
	if self.Kind == raftpb.Learner {
		add("replica %d is a learner: what was decided may not have reached it")
	}
	return risks
}

// Write makes the survivor, at an address, the only member, in one write.
func (r *Recovery) Write(address string) (raftpb.Membership, error) {
	index, term := r.Stored.Last+1, max(r.Stored.State.Term, LastTerm(&r.Stored))+raft.RebuiltTerms
	bootstrap := r.Stored.Bootstrap
	bootstrap.Complete = true
	if bootstrap.Incarnation == 0 { // without one no start would believe the log
		bootstrap.Incarnation = newIncarnation(r.Key, index, term)
	}
	self := raftpb.Member{ReplicaID: r.Key.ReplicaID, Kind: raftpb.Voter, Incarnation: bootstrap.Incarnation, Address: address}
	config := raftpb.Membership{ID: index, Members: []raftpb.Member{self}}
	batch := raftpb.NewMembership(r.Key.ShardID, config)
	batch.Stamp(term, index)
	group := r.stores.Log.NewGroup()
	err := group.Save(&raftpb.Save{
		ShardID: r.Key.ShardID, ReplicaID: r.Key.ReplicaID, Bootstrap: &bootstrap,
		State: raftpb.HardState{Term: term, Commit: index}, StateChanged: true,
		Batches: []raftpb.Batch{batch}, Configs: []raftpb.ConfigRecord{{Index: index, Membership: config}}, MustSync: true,
	})
	if err != nil {
		return config, err
	}
	if err := r.stores.write(group); err != nil {
		return config, err
	}
	// What it had promised, it had promised in a shard that is no more. Until that is forgotten it would abstain, and be recovered again.
	return config, r.stores.Promises.Record([]engine.PromiseRecord{{Key: r.Key, Forgotten: true}})
}

// newIncarnation is the same whenever the same replica is rebuilt from the same log.
func newIncarnation(key logdb.ReplicaKey, index, term uint64) uint64 {
	var text []byte
	for _, n := range []uint64{key.ShardID, key.ReplicaID, index, term} {
		text = binary.LittleEndian.AppendUint64(text, n)
	}
	digest := sha256.Sum256(text)
	return binary.LittleEndian.Uint64(digest[:]) | 1 // never 0
}
