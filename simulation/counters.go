package simulation

import (
	"fmt"
	"slices"
	"strings"
)

// counter names something that is counted.
type counter uint8

// Faults first, then what the clients met, then rare events.
const (
	countCrash counter = iota
	countPowerLoss
	countGracefulRestart
	countReplicaStop
	countTransfer
	countCut
	countOneWayCut
	countPartition
	countFlap
	countSlowWay
	countLossyWay
	countDamagingWay
	countBreak
	countClockJump
	countClockDrift
	countPause
	countSlowDisk
	countStall
	countFailedSync
	countFullDisk
	countWipe
	countLogWipe
	countOldDisk
	countRemove
	countSlowApply
	countChange
	countCancelChange
	countStar
	countNewTimeouts
	countDeafLeader
	countMachineFails
	countFence

	countOperations
	countAnswered
	countUnknown
	countRefusedOperation
	countReads
	countStaleReads
	countBoundedReads
	countForwarded
	countTimeouts
	countBusy
	countTermMismatch

	countElections
	countTruncations
	countLostWrites
	countLost
	countCutFrames
	countDuplicated
	countReordered
	countDamaged
	countRefused
	countBroken
	countLogReads
	countAbstained
	countHealed
	countPromoted
	countSecondLeader
	countRemoteUnknown
	countTransferDone
	countTransferRefused
	countChangeRefused
	countChangeDone
	countChangeCanceled
	countJoint
	countStopped
	countQuarantined

	countSnapshots
	countCompactions
	countInstalls
	countInterrupted
	countResumed
	countAudited
	countSessions
	countSessionCalls
	countSessionRetries
	countSessionDropped
	countSessionLate
	countSessionRepeated
	countSessionEvicted
	countSessionExpired
	countSessionForgotten
	countMachineSyncs
	countMachineSetBack
	countMachineUnusable

	countNoSpace
	countFlippedBit
	countZeroedSector
	countLostFileWrite
	countMisdirected

	countFileSyncFailed
	countTornWrite
	countPartlyKept
	countLostName
	countCutOpen
	countRefusedDisk
	countDamagedLog
	countTailDamaged
	countCutApart
	countLaneAdded

	countSnapshotCall
	countSnapshotSpace
	countSnapshotFlip

	countSnapshotCallFailed
	countSnapshotDamaged
	countSnapshotLost

	countRepair
	countMarkRepair
	countExport
	countImport
	countRecover

	countRepaired
	countExported
	countExportRefused
	countImported
	countImportRefused
	countRebuildCut
	countRecovered
	countFormerReturned
	countFormerTold

	countMachineCall
	countMachineSync
	countMachineSpace

	countMachineOpenFailed
	countMachineUpdateFailed
	countMachineSyncFailed
	countMachineRecoverFailed
	countMachineDropped

	countMachineExported
	countMachineImported

	counterCount
)

var counterNames = [counterCount]string{
	"crash", "power-loss", "graceful-restart", "replica-stop", "transfer", "cut", "one-way-cut", "partition", "flap", "slow-way",
	"lossy-way", "damaging-way", "break", "clock-jump", "clock-drift", "pause", "slow-disk", "stall", "failed-sync", "full-disk", "wipe", "log-wipe",
	"old-disk", "remove", "slow-apply", "change-members", "cancel-change", "star", "new-timeouts", "deaf-leader", "machine-fails", "fence",
	"operations", "answered", "unknown", "refused", "reads", "stale-reads", "bounded-reads", "forwarded", "timeouts", "busy", "term-mismatch",
	"elections", "truncations", "lost-writes", "lost-frames", "cut-frames", "duplicated-frames", "reordered-frames", "damaged-batches",
	"refused-messages", "broken-connections", "log-reads", "abstained", "healed", "promoted-again", "second-leaders", "unknown-but-applied",
	"transfers-done", "transfers-refused", "changes-refused", "changes-done", "changes-canceled", "joint-memberships", "shards-without-quorum", "quarantined",
	"snapshots-taken", "compactions", "snapshots-installed", "installations-interrupted", "streams-resumed", "audited",
	"sessions", "session-calls", "session-retries", "session-answers-dropped", "session-late-copies", "session-repeats", "sessions-evicted",
	"session-expired", "session-forgotten", "machine-syncs", "machines-set-back", "machines-half-recovered",
	"no-space", "flipped-bit", "zeroed-sectors", "lost-write", "misdirected-write",
	"failed-file-syncs", "torn-writes", "partly-kept", "lost-names", "cuts-while-opening", "refused-disks", "damaged-logs", "tails-damaged",
	"lanes-cut-apart", "lanes-added",
	"snapshot-call", "snapshot-space", "snapshot-flip",
	"snapshot-calls-failed", "snapshots-found-damaged", "replicas-without-snapshot",
	"repair", "mark-for-repair", "export", "import", "recover",
	"repaired", "exported", "exports-refused", "imported", "imports-refused", "rebuilds-cut", "recovered", "former-replicas-returned", "former-replicas-told",
	"machine-call", "machine-sync", "machine-space",
	"machine-opens-failed", "machine-updates-failed", "machine-syncs-failed", "machine-recoveries-failed", "machine-syncs-dropped",
	"machines-exported", "machines-imported",
}

// Faults returns the names of the kinds of faults.
func Faults() []string {
	return slices.Concat(counterNames[:firstOutcome], counterNames[firstFileFault:firstFileOutcome], counterNames[firstSnapshotFault:firstSnapshotOutcome],
		counterNames[firstAct:firstActOutcome], counterNames[firstMachineFault:firstMachineOutcome])
}

// firstOutcome is the first counter that is not a fault of every run. Faults of files, which only runs on files have, and what becomes
// of them, come behind, then those of files of snapshots, then what operators do, and then faults of files of state machines on disk.
const (
	firstOutcome         = countOperations
	firstFileFault       = countNoSpace
	firstFileOutcome     = countFileSyncFailed
	firstSnapshotFault   = countSnapshotCall
	firstSnapshotOutcome = countSnapshotCallFailed
	firstAct             = countRepair
	firstActOutcome      = countRepaired
	firstMachineFault    = countMachineCall
	firstMachineOutcome  = countMachineOpenFailed
)

// Counters count what a run met, by name.
type Counters [counterCount]uint64

func (c *Counters) add(which counter, n int) { c[which] += uint64(n) }

// Merge adds the counters of another run.
func (c *Counters) Merge(other *Counters) {
	for i := range c {
		c[i] += other[i]
	}
}

// Faults returns how many faults were injected.
func (c *Counters) Faults() uint64 {
	total := uint64(0)
	for i := range firstOutcome {
		total += c[i]
	}
	for i := firstFileFault; i < firstFileOutcome; i++ {
		total += c[i]
	}
	for i := firstSnapshotFault; i < firstSnapshotOutcome; i++ {
		total += c[i]
	}
	for i := firstAct; i < firstActOutcome; i++ {
		total += c[i]
	}
	for i := firstMachineFault; i < firstMachineOutcome; i++ {
		total += c[i]
	}
	return total
}

// Missing lists the faults of a profile, and the outcomes and rare events, that never occurred. Those of files are left out, but for those of state
// machines.
func (c *Counters) Missing(profile string) []string {
	chosen, _ := profileOf(profile)
	var names []string
	for i, name := range counterNames[:firstFileFault] {
		expected := counter(i) >= firstOutcome && counter(i) != countSecondLeader || chosen.rates[counter(i)] > 0
		if counter(i) >= countSnapshots {
			expected = profile == "snapshots" || profile == "sessions" || profile == "everything"
		}
		if expected && c[i] == 0 {
			names = append(names, name)
		}
	}
	if _, wanted := machineFaultRates[profile]; wanted {
		names = append(names, c.missing(firstMachineFault, countMachineExported)...)
	}
	if profile == "operator" {
		names = append(names, c.missing(countMachineExported, counterCount)...)
	}
	return names
}

// missing lists those counters of a range that are zero.
func (c *Counters) missing(from, to counter) (names []string) {
	for i := from; i < to; i++ {
		if c[i] == 0 {
			names = append(names, counterNames[i])
		}
	}
	return names
}

// Operations returns how many operations the clients began.
func (c *Counters) Operations() uint64 { return c[countOperations] }

// Value returns the counter of that name; ok is false if there is none.
func (c *Counters) Value(name string) (value uint64, ok bool) {
	for i, known := range counterNames {
		if known == name {
			return c[i], true
		}
	}
	return 0, false
}

// String lists faults, then outcomes and rare events, each in one line.
func (c *Counters) String() string {
	var s strings.Builder
	s.WriteString("faults:")
	names := counterNames[:]
	if *c == c.withoutFiles() {
		names = counterNames[:firstFileFault]
	}
	for i, name := range names {
		switch counter(i) {
		case firstOutcome:
			s.WriteString("\nevents:")
		case firstFileFault:
			s.WriteString("\nfiles:")
		case firstSnapshotFault:
			s.WriteString("\nfiles of snapshots:")
		case firstAct:
			s.WriteString("\noperators:")
		case firstMachineFault:
			s.WriteString("\nfiles of state machines:")
		}
		fmt.Fprintf(&s, " %s=%d", name, c[i])
	}
	return s.String()
}

func (c *Counters) withoutFiles() Counters {
	without := *c
	clear(without[firstFileFault:])
	return without
}
