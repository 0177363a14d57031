package simulation

import (
	"slices"
	"time"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// profile is a named mix of faults: how many of a kind there are in a minute of virtual time, for all hosts together.
type profile struct {
	name  string
	rates map[counter]float64 // looked up in the order of the counters
}

var profiles = []profile{
	{"calm", map[counter]float64{countSlowApply: 6, countTransfer: 2, countChange: 8, countCancelChange: 1}},
	{"crashy", map[counter]float64{
		countCrash: 18, countPowerLoss: 1.5, countGracefulRestart: 4, countReplicaStop: 8, countTransfer: 6, countPause: 2, countBreak: 4,
		countSlowApply: 3, countChange: 10, countCancelChange: 1, countMachineFails: 8, countFence: 5,
	}},
	{"partitions", map[counter]float64{
		countCut: 14, countOneWayCut: 12, countPartition: 5, countFlap: 4, countSlowWay: 6, countLossyWay: 6, countDamagingWay: 3, countBreak: 8, countTransfer: 4,
		countCrash: 2, countStar: 8, countChange: 10, countCancelChange: 1,
	}},
	{"leases", map[counter]float64{
		countClockDrift: 15, countPause: 12, countTransfer: 20, countCut: 10, countOneWayCut: 12, countPartition: 10, countStar: 4, countSlowWay: 8,
		countCrash: 12, countReplicaStop: 6, countNewTimeouts: 6, countDeafLeader: 15,
	}},
	{"clocks", map[counter]float64{
		countClockJump: 20, countClockDrift: 15, countPause: 14, countTransfer: 4, countCut: 3, countCrash: 2,
		countChange: 6, countCancelChange: 1,
	}},
	{"disks", map[counter]float64{
		countSlowDisk: 8, countStall: 6, countFailedSync: 5, countFullDisk: 6, countWipe: 0.7, countLogWipe: 0.5, countOldDisk: 4,
		countRemove: 0.3, countChange: 4, countCancelChange: 0.5, countCrash: 8, countPowerLoss: 1, countTransfer: 3,
	}},
	{"snapshots", map[counter]float64{
		countCrash: 14, countPowerLoss: 1, countGracefulRestart: 3, countReplicaStop: 10, countPause: 8, countCut: 12, countOneWayCut: 6, countPartition: 4,
		countBreak: 6, countSlowWay: 4, countLossyWay: 4, countTransfer: 6, countSlowApply: 6, countSlowDisk: 4, countStall: 2, countFailedSync: 2,
		countWipe: 0.7, countLogWipe: 0.5, countOldDisk: 2, countRemove: 0.3, countChange: 8, countCancelChange: 0.5,
	}},
	{"sessions", map[counter]float64{
		countCrash: 14, countPowerLoss: 1.5, countGracefulRestart: 4, countReplicaStop: 10, countTransfer: 12, countPause: 5, countCut: 8, countOneWayCut: 6,
		countPartition: 3, countBreak: 6, countSlowWay: 3, countLossyWay: 4, countSlowApply: 6, countSlowDisk: 3, countStall: 1, countFailedSync: 1, countWipe: 0.5,
		countChange: 6, countCancelChange: 0.5,
	}},
	{"operator", map[counter]float64{
		countCrash: 8, countPowerLoss: 0.5, countGracefulRestart: 2, countReplicaStop: 3, countTransfer: 4, countPause: 2, countCut: 4, countOneWayCut: 3, countPartition: 2,
		countBreak: 3, countSlowDisk: 2, countFailedSync: 1, countWipe: 0.6, countLogWipe: 0.4, countOldDisk: 2, countRemove: 0.3, countChange: 6, countCancelChange: 0.5,
	}},
	{"everything", map[counter]float64{
		countCrash: 7, countPowerLoss: 0.6, countGracefulRestart: 2, countReplicaStop: 3, countTransfer: 5,
		countCut: 5, countOneWayCut: 4, countPartition: 2, countFlap: 1.5, countSlowWay: 2, countLossyWay: 2.5, countDamagingWay: 1.5, countBreak: 3,
		countClockJump: 3, countClockDrift: 3, countPause: 3,
		countSlowDisk: 3, countStall: 2, countFailedSync: 2, countFullDisk: 2, countWipe: 0.4, countLogWipe: 0.3, countOldDisk: 2,
		countRemove: 0.3, countSlowApply: 2, countChange: 6, countCancelChange: 0.7, countDeafLeader: 1, countMachineFails: 1, countFence: 1,
	}},
}

// Profiles returns the names of the profiles.
func Profiles() []string {
	var names []string
	for _, p := range profiles {
		names = append(names, p.name)
	}
	return names
}

func profileOf(name string) (profile, bool) {
	i := slices.IndexFunc(profiles, func(p profile) bool { return p.name == name })
	if i < 0 {
		return profile{}, false
	}
	return profiles[i], true
}

// plan is what one seed draws from its profile: the swarm. Leaving whole kinds of faults out lets a run go deep into the others.
type plan struct {
	hosts, shards  int
	rates          [firstOutcome]float64
	raft           raft.Options
	stepWorkers    int
	applyWorkers   int
	cacheBytes     int64
	requestTimeout time.Duration
	maxStall       time.Duration
	writeBytes     int64
	batchBytes     int
	leases         bool // replicas read by leases: clocks keep to what that rests on
	priorities     map[uint64]raftpb.Priority
	backups        bool // disks are copied now and then, to be put back later
	massLoss       bool // a majority of a shard may lose its data
	commandBytes   int
	snapshots      snapshotPlan
	machineKinds   []machineKind // by shard
	sessions       sessionPlan
}

func drawPlan(r *random, o *Options) plan {
	chosen, _ := profileOf(o.Profile)
	p := plan{hosts: o.Hosts, shards: o.Shards}
	if p.hosts == 0 {
		p.hosts = pick(r, []int{3, 3, 4, 5, 5, 6, 7})
	}
	if p.shards == 0 {
		p.shards = pick(r, []int{1, 1, 2, 3, 5, 8, 10, 12})
	}
	later := *r // what came later draws from a copy, so that seeds mean what they meant
	for kind := range firstOutcome {
		draws := r
		if kind == countStar || kind == countNewTimeouts || kind >= countDeafLeader {
			draws = &later
		}
		rate := chosen.rates[kind]
		draw := draws.unit()
		if draw < 0.15 {
			rate = 0 // this seed goes without
		}
		p.rates[kind] = rate * (0.5 + 1.5*draws.unit())
	}
	p.raft = raft.Options{
		ElectionTimeout:    pick(r, []time.Duration{200 * time.Millisecond, 400 * time.Millisecond, time.Second}),
		DisablePreVote:     r.chance(0.1),
		DisableCheckQuorum: r.chance(0.1),
	}
	if r.chance(0.3) {
		p.raft.MaxInflightMessages, p.raft.MaxInflightBytes, p.raft.MaxMessageBytes = 4, 64<<10, 4<<10
	}
	if r.chance(0.3) {
		p.raft.MaxPinnedBytes, p.raft.MaxApplyBytes = 8<<10, 2<<10
	}
	p.raft.MaxBacklogBytes = pick(r, []int{0, 0, 2 << 10, 64 << 10})
	p.stepWorkers, p.applyWorkers = 1+r.below(2), 1+r.below(2)
	p.cacheBytes = pick(r, []int64{16 << 10, 1 << 20, 64 << 20})
	p.requestTimeout = pick(r, []time.Duration{2 * time.Second, 5 * time.Second})
	p.maxStall = pick(r, []time.Duration{time.Second, 3 * time.Second})
	p.writeBytes = pick(r, []int64{0, 256 << 10})
	p.batchBytes = pick(r, []int{0, 4 << 10})
	p.backups = p.rates[countOldDisk] > 0
	if p.massLoss = r.chance(0.2); p.massLoss {
		p.rates[countWipe] *= 4
		p.rates[countLogWipe] *= 4
	}
	p.commandBytes = pick(r, []int{0, 16, 16, 100, 2000})
	if p.leases = o.Profile == "leases" || later.chance(0.2); p.leases {
		p.raft.LeaseRead = true
		p.rates[countClockJump] = 0
	}
	if later.chance(0.3) {
		p.priorities = map[uint64]raftpb.Priority{
			1 + uint64(later.below(p.hosts)): raftpb.PriorityLast, 1 + uint64(later.below(p.hosts)): raftpb.PriorityNormal + 100,
		}
	}
	p.snapshots = drawSnapshots(&later, o)
	for range p.shards {
		kind := pick(&later, []machineKind{machineMemory, machineConcurrent, machineMemory, machineConcurrent, machineReplayed})
		if p.snapshots.every == 0 {
			kind = machineReplayed
		}
		p.machineKinds = append(p.machineKinds, kind)
	}
	p.drawOnDisk(&later)
	p.sessions = drawSessions(&later, o)
	return p
}

// drawOnDisk makes some of the shards whose machines are saved ones of machines on disk.
func (p *plan) drawOnDisk(r *random) {
	for i := range p.machineKinds {
		kind := pick(r, []machineKind{machineOnDisk, machineOnDisk, machineOnDisk, machineOnDiskBare})
		if p.snapshots.every > 0 && r.chance(0.4) {
			p.machineKinds[i] = kind
		}
	}
}

func (p *plan) anyOnDisk() bool { return slices.ContainsFunc(p.machineKinds, machineKind.onDisk) }
