// Package nodehost is the public API: a NodeHost carries the replicas of any number of Raft groups, shards, in one process.
//
// # Start here
//
// A host is made with New, given a directory and an address. StartReplica starts its replica of a shard with a state machine of
// the user's (package rsm); NodeHost.Shard returns the handle on which everything about that shard hangs. The package example is
// the whole of it: three hosts, one shard, a proposal on one host and a read on another.
//
//	                 NodeHost                            Shard (a handle)
//	New ──────► StartReplica, StopReplica        Propose, ProposeAsync, ProposeBatch, ProposeAtTerm
//	            RemoveReplicaData                Read, ReadAsync, StaleRead
//	            Shard(id) ─────────────────────► Leader, WaitLeader, TransferLeader
//	            Info, Close                      Members, ChangeMembers, CancelChange
//	                                             AddReplica, RemoveReplica, ReplaceReplica, Promote
//	                                             Status, SetTimeouts, Repair, Snapshot
//	                                             OpenSession ──► Session: Propose, Call, Via, Close
//
// The package ties the parts together and owns them: it opens the data directory, the log store (package logdb; the segmented log unless
// Config says otherwise) and the transport (TCP unless Config says otherwise), hands them to the engine, which does the
// work, and closes them in the right order. It has a single goroutine of its own, which looks, once a second, at free disk space and whether the log store stalls.
//
// # How a request ends
//
// Every accepted request ends exactly once, at the latest when Config.RequestTimeout has passed: no request waits for ever, with or
// without a quorum, and Close answers what is pending. A context may end the waiting of a blocking caller earlier, and needs no
// deadline. The exception are changes of the membership: they take as long as a new member needs for the log, and end with their
// context, their leader or their replica. Errors are sentinels for errors.Is. One question divides them, and MaybeApplied answers it:
//
//	MaybeApplied(err)   what is known                            what to do
//	false               the command surely had no effect         propose it again, if the error says that it may pass
//	true                it may have been, or yet be, applied     ask the state machine, or propose it in a session
//
// Completions (ProposeAsync, ReadAsync, ProposeBatch) run on engine goroutines, for applied commands in the order of the log.
// They must be short and must not block; they may make further asynchronous requests. They must not call Close.
//
// # Errors
//
// Every sentinel, when it comes, and what MaybeApplied says of it. Texts name shard, replica and the value that was wrong; errors.Is finds
// the sentinel below them.
//
//	error                 when it comes                                                                may be applied
//	ErrNoLeader           no leader is known here: an election, no quorum, or this replica abstains    no
//	ErrNotLeader          leadership moved on the way                                                  no
//	ErrBusy               a bounded queue is full or stands still; this learner is new to the leader   no
//	ErrDiskFull           free space is below the reserve, here or at the leader                       no
//	ErrTransferring       leadership is being handed over                                              no
//	ErrTermMismatch       ProposeAtTerm in another term                                                no
//	ErrTooLarge           the command exceeds Config.MaxCommandBytes                                   no
//	ErrEmptyBatch         ProposeBatch without commands                                                no
//	ErrNotStarted         the shard does not run on this host                                          no
//	ErrAlreadyStarted     it runs already                                                              no
//	ErrInvalidConfig      a Config or ReplicaConfig is wrong; lists every fault                        no
//	ErrNotMember          a replica named in a request is no member                                    no
//	ErrNotVoter           a transfer to a learner or a witness                                         no
//	ErrWitness            a proposal or read on the host of a witness                                  no
//	ErrInvalidChange      a membership change that leads to no possible membership                     no
//	ErrStaleChange        a membership change for another membership than the present one              no
//	ErrPendingChange      another membership change is under way                                       no
//	ErrChangeCanceled     the membership change was taken back by CancelChange                         if this replica did not see all of it
//	ErrRemoved            this replica was told that it is no member any more                          no
//	ErrDataLost           those that lost their data leave no quorum: the shard has stopped            no
//	ErrRepairRefused      Repair of a replica that no other can rebuild, or that is not there          no
//	ErrTooStale           a StaleRead whose bound cannot be shown to hold                              no
//	ErrTransferFailed     a TransferLeader did not succeed; matches the reason too                     if the target was told to take over
//	ErrTargetBehind       it did not have the whole log in time; the leader goes on                    no
//	ErrTargetFailed       it is not heard, cannot campaign, or did not win; the leader goes on         if it was told to take over
//	ErrTimeout            Config.RequestTimeout passed                                                 unless it was still queued
//	ErrLeaderChanged      leadership moved while the request was under way                             yes
//	ErrNoSnapshots        Snapshot of a state machine that cannot be saved                               no
//	ErrNothingApplied     Snapshot before anything was applied                                         no
//	ErrInstalling         Snapshot, ExportSnapshot while the state is replaced by another replica's    no
//	ErrSnapshotFailed     a snapshot could not be taken; matches the reason too                        no
//	ErrRepairRefused      a replica cannot be rebuilt: healing is turned off, or nobody else has its data  no
//	ErrNoSessions         OpenSession, and the state machine is on disk and keeps none                 no
//	ErrSessionExpired     the session was evicted: the shard holds newer ones                          if an earlier attempt was under way
//	ErrSessionClosed      a call of a session after its Close                                          if an earlier attempt was under way
//	ErrSessionBusy        the session has MaxSessionCalls calls behind one that has not ended          no
//	ErrCallForgotten      the call was abandoned                                                       if an earlier attempt was under way
//	ErrOtherShard         Session.Via with a handle of another shard                                   no
//	ErrStopped            the replica, or the host, stopped                                            if it was under way
//	ErrStuck              a stop took longer than Tuning.MaxStopWait, and goes on by itself             yes
//	ErrQuarantined        the state machine failed                                                     if it was under way
//	ErrFenced             an assertion failed in the replica                                           if it was under way
//	ErrStorageFailed      the host's log store failed: no writes until a restart                       if it was under way
//	cause of the context  the caller left                                                              unless it never began, or changes nothing
//
// ImportSnapshot and RecoverShard are for hosts that do not run: ErrImportRefused and ErrRecoverRefused say why nothing was changed, ErrNoHost that a directory is
// none of a host's, ErrNotAsked that another host could not be asked whether it is there.
// ErrSnapshotDamaged, ErrMachineStuck, ErrStreamFailed and ErrInstallFailed are told by Events; the first is a start's error too if the replica must not be healed.
// Reads change nothing, so MaybeApplied is never true of their errors. Those of New concern the data directory: ErrDirectoryLocked,
// ErrIdentityMismatch, ErrIdentityDamaged, ErrPromisesDamaged, ErrOtherLogStore. A host whose directory is an older copy reports
// ErrRestoredDirectory as the failure of its storage.
//
// # Sessions
//
// A command whose outcome is unknown may have been applied, and to propose it again may apply it twice. With a session it does not:
//
//	session, err := shard.OpenSession(ctx)            once in the life of a client
//	result, err := session.Propose(ctx, command)      applied once, tried until ctx ends
//
//	call := session.Call(command)                     or, to go on after ctx has ended, or on another host:
//	result, err := call.Propose(ctx)                  ──► ErrStopped, a deadline, …
//	err = session.Via(other)
//	result, err = call.Propose(another)               the answer of the first attempt, if that was applied
//
// The shard keeps the answers of a session until later calls acknowledge them, in its snapshots, too. Sessions are evicted, those that were not used
// for longest first, when there are more than ReplicaConfig.MaxSessions; then the calls that had not ended cannot be
// told apart from new ones, and end with ErrSessionExpired. A state machine on disk has to keep the sessions beside its data
// (rsm.SessionKeeper).
//
// # Reads
//
//	                      answered by                          sees                                             costs
//	Read                  any replica but a witness            all that was acknowledged before it              a round to a quorum, shared by many
//	Read, LeaseRead on    the leader by itself, if its lease   the same, if clocks keep to MaxClockDrift        nothing
//	                      holds; else as above
//	StaleRead, bound      the replica by itself                all that was acknowledged longer ago than that   nothing; else ErrTooStale
//	StaleRead, 0          the replica by itself                a state that once was                            nothing
//
// # Members
//
// A shard's members are voters, learners, which have the data and do not vote, and witnesses, which vote and have no data. ChangeMembers
// makes any number of them something else in one step; AddReplica, RemoveReplica, ReplaceReplica and Promote are the usual
// cases, guarded against another operator's change. A new replica is started with ReplicaConfig.Join on its host and added by a
// call on any host, in either order:
//
//	StartReplica(Join) ──► passive ──► AddReplica ──► learner, gets the log ──► caught up ──► voter ──► RemoveReplica ──► told, keeps its data
//	                                                        │                                  ▲
//	                                                        └──────────── CancelChange         └── Promote, for one that was added as a learner
//
// A removed replica answers ErrRemoved until it is stopped; after RemoveReplicaData its ID may be used again. One whose disk, or a part of
// it, was lost is healed by the leader without being asked (ReplicaConfig.DisableHealing): it is made a learner under another
// incarnation, gets the log, and votes again; Events and Info tell of it.
//
// # What happens without a request
//
// Config.Events holds callbacks: a leader changed, a replica was started, stopped, quarantined or fenced, a follower cannot be
// reached, the log store failed. They run on a goroutine of their own behind a bounded queue, so that they may be slow; what does
// not fit is dropped and counted in Info.
//
// # Snapshots
//
// Without snapshots a state machine is rebuilt from the whole log at every start, and the log is kept for ever. One that implements rsm.Snapshotter,
// rsm.Concurrent or rsm.OnDisk is saved, as ReplicaConfig.Snapshots says and when Shard.Snapshot is called:
//
//	kind             a snapshot is                      meanwhile               a start
//	rsm.Snapshotter  a file                             Updates wait            recovers from the newest file and replays the log behind it
//	rsm.Concurrent   a file, of a prepared view         Updates go on           the same
//	rsm.OnDisk       a Sync, no file                    Updates go on           Open says where the state machine is; the log behind it is replayed
//
// Log that neither the oldest snapshot kept nor KeepEntries needs is removed. A snapshot that fails, for lack of room or by an error of the state
// machine, changes nothing: the shard goes on, Events.SnapshotFailed tells, and it is tried again. A damaged one is passed over for the one
// before; without any the replica is damaged and healed by the others.
//
// A replica that lacks what the others have removed from their logs is sent a snapshot, on a connection of its own, by a follower if one is caught up: the file of
// one in memory, or what Prepare and Save of one on disk yield as it is sent. Tuning.SnapshotSendBytesPerSecond bounds what a host sends. Events.SnapshotOffered, SnapshotReceived,
// SnapshotInstalled, SnapshotSent and StreamFailed tell; Info().Engine counts streams and bytes. Lookups wait while a state machine recovers.
//
// # Audits
//
// With ReplicaConfig.Audit the replicas of a shard compare checksums of their states at intervals, if the state machine is a rsm.Checksummer, as those of rsm/kv
// and rsm/pebblekv are. One that differs from a majority is quarantined, with ErrDiverged.
//
// Shard.ExportSnapshot writes a snapshot to a file elsewhere. ImportSnapshot begins a shard anew with such a file on hosts that do not run, and RecoverShard makes a
// survivor the only member of a shard that lost its quorum; docs/operations.md says when to do what.
//
// # The data directory
//
//	Config.Dir/
//	├── lock         held as long as a NodeHost has the directory; a second one gets ErrDirectoryLocked
//	├── identity     who this host is, and its epoch; replaced whole at every start
//	├── promises     what the replicas have promised to others; appended to, replaced whole now and then
//	├── import       a snapshot that is being imported, which the next start finishes; seldom there
//	├── log/         the log store's own
//	└── snapshots/   those of all replicas here; see package snapshot
//
// Files that are replaced whole are written under a temporary name, synced, renamed, and the directory is synced: after a crash
// the old file is there or the new one. All go through Config.FS. All integers are little-endian, all checksums CRC-32C.
//
// The order of a start is what makes a restart safe: lock, identity with the next epoch, promises, log, snapshots, an import that was not finished, transport. Nothing is
// sent before the epoch is durable, so no peer meets two starts under one epoch, and an old copy of the directory that is put back
// presents an epoch that its peers have seen: they refuse it. The identity is durable before the log's directory exists, so a log
// without an identity is one that lost it, and is refused.
//
// The file identity:
//
//	 0         8        10         12         20        28          30         32
//	┌─────────┬─────────┬──────────┬──────────┬─────────┬───────────┬──────────┬─────────────┬─────────┬───────┐
//	│FLTLHOST │version 1│reserved 0│ host id  │  epoch  │deployment │ address  │ deployment  │ address │  CRC  │
//	│ 8 bytes │  u16    │   u16    │   u64    │   u64   │length u16 │length u16│   bytes     │  bytes  │  u32  │
//	└─────────┴─────────┴──────────┴──────────┴─────────┴───────────┴──────────┴─────────────┴─────────┴───────┘
//
// The file promises is a header of 16 bytes and records of 48. The last record of a replica counts. Each stands for itself: one that
// a crash has torn, or that was damaged, is left out and the rest is kept, for what is left is a lower bound, and a
// promise need not be more.
//
//	header                                          record
//	 0         8         10           12            0       8         16          24      32      40      44
//	┌─────────┬─────────┬────────────┬──────┐      ┌───────┬─────────┬───────────┬───────┬───────┬───────┬──────┐
//	│FLTLPROM │version 1│record size │ CRC  │      │ shard │ replica │ vote term │ term  │ index │ flags │ CRC  │
//	│ 8 bytes │  u16    │ 48, u16    │ u32  │      │  u64  │   u64   │    u64    │  u64  │  u64  │  u32  │ u32  │
//	└─────────┴─────────┴────────────┴──────┘      └───────┴─────────┴───────────┴───────┴───────┴───────┴──────┘
//
// Vote term is the term of the last vote; term and index are those of the last acknowledged entry. Flag 1 says that the
// replica's data was removed and nothing is promised any more. A replica whose log comes back with less than it promised abstains.
//
// # Where to read on
//
// nodehost.go has New and Close, replica.go what starts and stops replicas, propose.go, batch.go and read.go the requests, directory.go,
// identity.go and promises.go the files drawn above, and config.go every setting with its default and the reason for it.
package nodehost
