// Package simulation runs whole clusters of the production engine in one goroutine, on a virtual clock, network and disks, from one
// seed. The same seed gives the same run, to the last byte; a minute of a cluster's life takes about a tenth of a second. While it
// runs it breaks everything that may break, and checks from outside what the engine does.
//
//	result, err := simulation.Run(simulation.Options{Seed: 7, Profile: "everything"})
//	if result.Violation != nil { … }
//
// # The world
//
// A World holds hosts, each with a clock, a disk and an engine, and one agenda of events in virtual time: a worker runs, a frame
// arrives, a write completes, a deadline comes, a client calls, something breaks. The next event is taken, what it woke is
// scheduled a drawn moment later, and so on. Nothing else moves time.
//
//	        clients ── Propose, Read ──►┌──────────────┐──► disk (model store + mirrors) ── completes later ─┐
//	nemesis ── crash, cut, stall, … ──► │ engine, as in │                                                      │
//	        frames of other hosts ────► │  production   │──► network (encode, delay, lose, double, decode) ─┐  │
//	                                    └──────▲───────┘                                                    │  │
//	                      agenda ── RunOnce of woken workers only ◄──────────────────────────────────────────┴──┘
//
// Engine, cores, log cache, codec and state machine manager are those of production, without a branch for the simulator. Only the seams are
// replaced: LogDB, Transport, PromiseStore, Random and Clock.
//
// A worker is run only if production would run it: its ready flag is up or its deadline is due (R29). So a wake-up that is
// missing shows as a hang, as it would in production; and at the end every worker that nobody woke is run once, to show that it had
// no work.
//
// # Who owns what
//
// Everything belongs to the one goroutine. A host's engine dies with its life: host.life counts lives, and events of an earlier one are
// void. Disk and promises outlive it, minus what a power cut takes. What is drawn comes from generators forked for one purpose each.
//
// # The checkers
//
// They see what crosses the seams, and never look into a core:
//
//   - messages, as they leave (check.go): one leader a term, one vote a term and incarnation, nothing told before it is durable, no
//     commit announced before a majority has the entry durable in the entry's own term;
//   - writes, as they are handed to the log store (check.go, mirror.go): log matching, no committed entry ever cut, terms never
//     fall, who leads has everything that was committed before;
//   - commands, as state machines get them (check.go): committed and durable here, the same everywhere, in order, with the same
//     state after each;
//   - hand-overs and changes of members (check_asked.go, check_asked_members.go): each is held against who asked for it; what a caller was
//     told surely does not happen, never does, however late a copy of the request arrives;
//   - requests (client.go): each ends exactly once and in time; what is answered took place, once; what is refused never does; what
//     was asked for in one term happens in no other; reads and writes follow each other as they did in time;
//   - snapshots (check_snapshots.go): a log begins anew only behind an entry that is decided and that it does not hold, with the membership in effect
//     there, and throws nothing away that is decided; what a state machine recovers is a state that the shard was in; log is let go of only
//     when it is decided, and not while a state machine has yet to recover;
//   - sessions (check_sessions.go): which entries of sessions may be shown to a state machine follows from what is decided, and is worked out apart
//     from the product; a call is applied once however often it is tried, every answer is that of this one time, and each refusal is
//     one that the rules have for an attempt of the call;
//   - histories, at the end (history.go): every register's is given to porcupine;
//   - replicas that fail (failing.go, check_taking.go): one whose state machine fails does not lead or campaign for long, and goes on taking entries;
//     one that is fenced says nothing more;
//   - priorities (check_priority.go): who is to lead last gives way before it campaigns, and hands over;
//   - full disks (full_disks.go): in some runs of profile "disks" all hosts are started anew at the end with no more room than the reserve, and every shard elects a
//     leader whose first entry is decided, before anybody makes room;
//   - recovery (recovery.go): when all faults have ended, every shard of which a majority kept its promises serves again within a
//     bounded number of election timeouts, and its replicas agree.
//
// A replica whose storage lost what it had promised (a wiped disk, an older copy put back) may abstain for good; the checkers know
// which (place.lost), and demand that it neither votes nor counts (R14 to R16). An older copy is put back only where the record
// of promises shows it: for the others nothing is guaranteed.
// What damage took may be there again after a power cut, and then nothing is lost (rediscovery.go).
//
// # The product's log stores, on files that fail
//
// Every host has the segmented log, unless Options.LogDB says otherwise, on files in memory, one step at a time: such a run is the same to the
// last byte each time. So is one with "model", a log store of the simulator's own without files, in half the time.
//
// With Options.LogDB "pebble" every host has the product's store on Pebble, on files in memory. Pebble has goroutines, so such a run is drawn
// from its seed but is not the same to the last byte; the checkers do not need that it is. A write is handed to Pebble when its time has
// come, and the world stands still until Pebble has done with it (file_store.go).
//
//	engine ─► disk ─► fileStore ─► pebblelog.Store, goroutines ─► files ─► vfs.MemFS
//	          mirrors  when        seglog.Store, RunOnce          faults   what was synced, what not
//
// The files (files.go, files_faults.go) lose what was not synced, block by block and name by name, in any order; are cut off within any
// write, sync or rename, also while the store is opened; fail a sync and then say that all is well; get full; lose a write, or
// misplace it. Bits flip and sectors are zeroed where the power is cut (files_damage.go).
//
// In a third of the seeds segmented logs have up to three lanes, each on a device of its own (lanes.go): a power cut leaves other parts of each, and
// what is there is compared replica by replica.
//
// After each power cut the whole store is read and compared with the mirrors (disk_files.go): what was durable is there, with
// the first of the writes under way and nothing else. If files were damaged the store may refuse, and the disk is replaced; or logs are
// known to be damaged, and their replicas stay out. The promises of a host are kept beside these files.
//
// # Snapshots
//
// In profiles "snapshots" and "sessions", and in half of the seeds of "everything", state machines are saved after a few entries, in memory and
// from a prepared view, and the log is compacted, so that whoever was cut off for a moment is sent a snapshot. Workers that stay inside a
// user's code run as coroutines (snapshots.go): at each read and write of a snapshot they hand over, and other steps fall in between. The
// directory of snapshots is on files of its own, which a power cut leaves as it does those of the log. Calls on
// these files fail, their device gets full, and bits flip in snapshots that were whole (nemesis_snapshots.go): what is damaged has to be found
// before it is believed, here and where it was sent to.
//
// Some shards have state machines on disk (machine_disk.go), with sessions or without. Their journals are on files of their own, too: a power cut
// takes any of what was written since the last Sync, in small blocks and in any order, so that a machine comes up behind its log. What it has
// synced is known outside of the engine: no log may go, and no snapshot count as installed, before it has.
//
// In some seeds of profile "snapshots" these files fail, too (machine_failures.go): an Open, an Update, a Sync or a Recover returns the device's error, once or for as long
// as it is full. That is the end of the machine: nobody may call it any more, its replica gives its leadership up and goes on taking entries, and what was to be
// synced does not count. Started anew, it has what was synced and some of the rest, and is replayed from there.
//
// # Sessions
//
// In profile "sessions", and in many seeds of the two others, some clients have sessions (sessions.go). They try each call again, through whichever
// hosts, while attempts are under way and when answers got lost; shards that hold fewer sessions than there are clients evict them; copies of
// calls that ended long ago arrive late. At the end every replica is asked once more for the last call of each session.
//
// # What operators do
//
// In profile "operator", operators act as docs/operations.md has it (nemesis_operator.go, rebuild.go): replicas are
// repaired, while they run or at their next start; snapshots are exported, in half of the seeds of state machines on disk too, which go on meanwhile; a shard is rebuilt from an export or from the best log that is left, with the
// code of production (package internal/rebuild) on the simulated disks, and with power cuts in the midst. Some of those who are left out come back with what they had.
//
// A rebuilt shard is another one to the checkers (rebirth.go): it begins with exactly the entries and the state that it was rebuilt from, and what
// was decided behind them is gone with the former life. Each life is linearizable by itself. Whoever is left of a former one leads nothing and answers nothing, and
// is told so once it reaches a member of the present one.
//
// # What it cannot see
//
// Data races and whatever else needs two goroutines at once; sockets, TLS; and, but for runs with Pebble, a log store's own goroutines and
// files. The engine's tests with goroutines, under the race detector, and those of the plug-ins look for these.
//
// # Mutants
//
// Package mutants beside this one shows what the checkers are worth: each patch takes one guard out of the product, and a violation
// has to be found.
package simulation
