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

	"github.com/flotilla-raft/flotilla/internal/rebuild"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// ErrRecoverRefused says that a shard is not rebuilt from a replica, and why. Nothing was changed.
var ErrRecoverRefused = rebuild.ErrRecoverRefused

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
// they are a quorum; if one could not be asked; if the survivor lost something itself, or has no whole snapshot where its log does not begin
// with the first entry. Force goes on nevertheless.
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
	if err := stores.FinishImport(); err != nil {
		return recovered, err
	}
	r, err := rebuild.Find(&stores.Stores, options.ShardID, options.ReplicaID)
	if err != nil {
		return recovered, err
	}
	asked, err := askOthers(ctx, r, options.Ask)
	if err != nil {
		return recovered, err
	}
	if risks := slices.Concat(r.Risks(), snapshotRisks(stores, r), askedRisks(asked, &r.Former)); len(risks) > 0 && !options.Force {
		return recovered, fmt.Errorf("%w: %s", ErrRecoverRefused, strings.Join(risks, "; "))
	}
	recovered = Recovered{
		Replica: ReplicaName{r.Key.ShardID, r.Key.ReplicaID}, Former: r.Former, Asked: asked,
		Last: r.Stored.Last, Term: rebuild.LastTerm(&r.Stored), Committed: r.Stored.State.Commit,
	}
	recovered.Config, err = r.Write(directory.identity.address)
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

// askOthers asks the hosts of all other members, those that are leaving included, all at once.
func askOthers(ctx context.Context, r *rebuild.Recovery, ask func(ctx context.Context, address string) error) ([]Asked, error) {
	var asked []Asked
	for _, member := range append(slices.Clone(r.Former.Members), r.Former.Outgoing...) {
		known := slices.ContainsFunc(asked, func(a Asked) bool { return a.Member.ReplicaID == member.ReplicaID })
		if member.ReplicaID != r.Key.ReplicaID && !known {
			asked = append(asked, Asked{Member: member})
		}
	}
	answered := make(chan int, len(asked))
	for i := range asked {
		go func() {
			asked[i].Answer = ask(ctx, asked[i].Member.Address)
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
