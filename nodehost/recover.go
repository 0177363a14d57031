package nodehost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// ErrRecoverRefused says that a shard is not rebuilt from a replica, and why. Nothing was changed.
var ErrRecoverRefused = errors.New("flotilla: shard is not recovered")

// recoverPatience is how long a host is given to answer.
const recoverPatience = 5 * time.Second

// RecoverOptions configure RecoverShard.
type RecoverOptions struct {
	// Dir is the data directory of the survivor, a host that does not run.
	Dir string
	// ShardID is the shard; ReplicaID is the survivor, 0 for the only one that the host has.
	ShardID, ReplicaID uint64
	// Force recovers although a reason speaks against it; what is risked stands in the error without it.
	Force bool
	// Ask finds out whether a host is there: nil if it answers, ErrNotAsked if that could not be tried, any other error if it does not.
	// Default: whether something accepts a connection at the address, within 5 seconds.
	Ask func(ctx context.Context, address string) error
	// FS holds Dir. Default: the operating system's.
	FS vfs.FS
	// LogDB opens the log store. Default: the one that the directory was made with.
	LogDB func(LogDBContext) (logdb.LogDB, error)
}

// ErrNotAsked says that a host could not even be asked, as when its name is not known here.
var ErrNotAsked = errors.New("flotilla: host could not be asked")

// Asked is a member that was asked, and what it said: nil that it is there.
type Asked struct {
	Member raftpb.Member
	Answer error
}

// Recovered says what RecoverShard did.
type Recovered struct {
	Replica ReplicaName
	// Former is the membership that lost its quorum, Config the new one: the survivor alone.
	Former, Config raftpb.Membership
	// Last is the last entry of the survivor's log, and Term its term: all up to there is the state of the shard now. Committed is up to where
	// the survivor knew it to be decided.
	Last, Term, Committed uint64
	// Asked are the other members.
	Asked []Asked
}

// RecoverShard rebuilds a shard that has lost its quorum for good from the log and state of one survivor, on a host that does not run: the
// survivor becomes the only member, by an entry at the end of its log, in a term far above the former ones. Then it is started, and other
// replicas are added under new numbers. Entries that only the lost replicas had are gone; entries at the end of the survivor's log count, also those of
// which no caller was told. Where several survive, take the one with the highest term of its last entry, and of those the longest
// log (flotilla log inspect), and remove the data of the others before they are started.
//
// Before that the other members' hosts are asked whether they are there. It is refused if one of them answers, which is all the more wrong where
// they are a quorum; if one could not be asked; if the survivor lost something itself. Force goes on nevertheless.
//
// A former member that comes back and reaches the survivor is told that it was removed; it neither votes nor leads any more and keeps its data
// until that is removed. Two of three that come back and do not reach the survivor cannot be told: do not start them again.
//
// The change is one write: a crash leaves the replica as it was, or recovered. Errors: ErrRecoverRefused with the reason, ErrNoHost,
// ErrDirectoryLocked, those of the log store, the cause of ctx.
func RecoverShard(ctx context.Context, options RecoverOptions) (recovered Recovered, err error) {
	if options.FS == nil {
		options.FS = vfs.Default
	}
	if options.Ask == nil {
		options.Ask = askHost
	}
	directory, err := holdDirectory(options.FS, options.Dir)
	if err != nil {
		return recovered, err
	}
	defer func() { err = errors.Join(err, directory.close()) }()
	stores, err := openStores(directory, options.LogDB)
	if err != nil {
		return recovered, err
	}
	defer func() { err = errors.Join(err, stores.close()) }()
	if err := stores.finishImport(); err != nil {
		return recovered, err
	}
	r := &recovery{options: &options, stores: stores, address: directory.identity.address}
	if err := r.find(); err != nil {
		return recovered, err
	}
	asked, err := r.ask(ctx)
	if err != nil {
		return recovered, err
	}
	if risks := append(r.risks(), askedRisks(asked, &r.former)...); len(risks) > 0 && !options.Force {
		return recovered, fmt.Errorf("%w: %s", ErrRecoverRefused, strings.Join(risks, "; "))
	}
	recovered = Recovered{
		Replica: ReplicaName{r.key.ShardID, r.key.ReplicaID}, Former: r.former, Asked: asked,
		Last: r.stored.Last, Term: lastTerm(&r.stored), Committed: r.stored.State.Commit,
	}
	recovered.Config, err = r.write()
	return recovered, err
}

// askHost is the default of RecoverOptions.Ask.
func askHost(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, recoverPatience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	var name *net.DNSError
	var wrong *net.AddrError
	switch {
	case err == nil:
		return conn.Close()
	case errors.As(err, &name) || errors.As(err, &wrong):
		return fmt.Errorf("%w: %w", ErrNotAsked, err)
	}
	return err
}

// recovery is one call of RecoverShard.
type recovery struct {
	options *RecoverOptions
	stores  *hostStores
	address string
	key     logdb.ReplicaKey
	stored  raftpb.Stored
	former  raftpb.Membership
}

// find looks for the survivor and what it knows of the members.
func (r *recovery) find() error {
	refuse := func(format string, arguments ...any) error {
		return fmt.Errorf("%w: %s: %s", ErrRecoverRefused, r.options.Dir, fmt.Sprintf(format, arguments...))
	}
	keys, err := r.stores.log.List()
	if err != nil {
		return err
	}
	keys = slices.DeleteFunc(keys, func(key logdb.ReplicaKey) bool {
		return key.ShardID != r.options.ShardID || r.options.ReplicaID != 0 && key.ReplicaID != r.options.ReplicaID
	})
	if len(keys) != 1 {
		return refuse("it has %d replicas of shard %d that are meant, want 1", len(keys), r.options.ShardID)
	}
	r.key = keys[0]
	if r.stored, err = r.stores.log.Load(r.key); err != nil {
		return fmt.Errorf("%w: %w", ErrRecoverRefused, err)
	}
	r.former = r.stored.Bootstrap.Initial
	if n := len(r.stored.Configs); n > 0 {
		r.former = r.stored.Configs[n-1].Membership
	}
	self := r.member(r.key.ReplicaID)
	switch {
	case r.stored.Last == 0:
		return refuse("replica %d has nothing: nothing can be rebuilt from it", r.key.ReplicaID)
	case self == nil:
		return refuse("replica %d is no member of the membership that it knows", r.key.ReplicaID)
	case self.Kind == raftpb.Witness:
		return refuse("replica %d is a witness, which has no data", r.key.ReplicaID)
	}
	return nil
}

func (r *recovery) member(id uint64) *raftpb.Member {
	for i := range r.former.Members {
		if r.former.Members[i].ReplicaID == id {
			return &r.former.Members[i]
		}
	}
	return nil
}

// ask asks the hosts of all other members, those that are leaving included, all at once.
func (r *recovery) ask(ctx context.Context) ([]Asked, error) {
	var asked []Asked
	for _, member := range append(slices.Clone(r.former.Members), r.former.Outgoing...) {
		known := slices.ContainsFunc(asked, func(a Asked) bool { return a.Member.ReplicaID == member.ReplicaID })
		if member.ReplicaID != r.key.ReplicaID && !known {
			asked = append(asked, Asked{Member: member})
		}
	}
	answered := make(chan int, len(asked))
	for i := range asked {
		go func() {
			asked[i].Answer = r.options.Ask(ctx, asked[i].Member.Address)
			answered <- i
		}()
	}
	for range asked {
		<-answered
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return asked, nil
}

// risks are the reasons that lie in the survivor.
func (r *recovery) risks() (risks []string) {
	promised := r.stores.promises.Promised(r.key)
	if promised.Term > lastTerm(&r.stored) || promised.Term == lastTerm(&r.stored) && promised.Index > r.stored.Last {
		risks = append(risks, fmt.Sprintf("replica %d has lost entries that it acknowledged: what was decided may be missing", r.key.ReplicaID))
	}
	if promised.VoteTerm > r.stored.State.Term {
		risks = append(risks, fmt.Sprintf("replica %d is marked as one that lost something: what was decided may be missing", r.key.ReplicaID))
	}
	if self := r.member(r.key.ReplicaID); self.Incarnation != 0 && self.Incarnation != r.stored.Bootstrap.Incarnation {
		risks = append(risks, fmt.Sprintf("replica %d has lost its state once, and was not healed to the end: what was decided may be missing", r.key.ReplicaID))
	}
	if self := r.member(r.key.ReplicaID); self.Kind == raftpb.Learner {
		risks = append(risks, fmt.Sprintf("replica %d is a learner: what was decided may not have reached it", r.key.ReplicaID))
	}
	return risks
}

// askedRisks are those that lie in the others.
func askedRisks(asked []Asked, former *raftpb.Membership) (risks []string) {
	voters, there := 0, 0
	for i := range former.Members {
		if former.Members[i].Kind != raftpb.Learner {
			voters++
		}
	}
	for i := range asked {
		member := &asked[i].Member
		name := fmt.Sprintf("replica %d at %s", member.ReplicaID, member.Address)
		switch {
		case asked[i].Answer == nil:
			if member.Kind != raftpb.Learner {
				there++
			}
			risks = append(risks, name+" answers: it may have more than this one, and would go on as a part of the former shard")
		case errors.Is(asked[i].Answer, ErrNotAsked):
			risks = append(risks, fmt.Sprintf("%s could not be asked (%v): it may be there", name, asked[i].Answer))
		}
	}
	if there > 0 && there+1 > voters/2 {
		risks = append(risks, fmt.Sprintf("with this one %d of %d voters are there, a quorum: the shard lives, start this host; two shards of one "+
			"number would go on beside each other", there+1, voters))
	}
	return risks
}

// write makes the survivor the only member, in one write.
func (r *recovery) write() (raftpb.Membership, error) {
	index, term := r.stored.Last+1, max(r.stored.State.Term, lastTerm(&r.stored))+importTermJump
	self := raftpb.Member{ReplicaID: r.key.ReplicaID, Kind: raftpb.Voter, Incarnation: r.stored.Bootstrap.Incarnation, Address: r.address}
	config := raftpb.Membership{ID: index, Members: []raftpb.Member{self}}
	batch := raftpb.NewMembership(r.key.ShardID, config)
	batch.Stamp(term, index)
	bootstrap := r.stored.Bootstrap
	bootstrap.Complete = true
	group := r.stores.log.NewGroup()
	err := group.Save(&raftpb.Save{
		ShardID: r.key.ShardID, ReplicaID: r.key.ReplicaID, Bootstrap: &bootstrap,
		State: raftpb.HardState{Term: term, Commit: index}, StateChanged: true,
		Batches: []raftpb.Batch{batch}, Configs: []raftpb.ConfigRecord{{Index: index, Membership: config}}, MustSync: true,
	})
	if err != nil {
		return config, err
	}
	durable := make(chan error, 1)
	r.stores.log.Commit([]logdb.Group{group}, func(err error) { durable <- err })
	if err := <-durable; err != nil {
		return config, err
	}
	// What it had promised, it had promised in a shard that is no more. Until that is forgotten it would abstain, and be recovered again.
	return config, r.stores.promises.Record([]engine.PromiseRecord{{Key: r.key, Forgotten: true}})
}
