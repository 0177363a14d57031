package simulation

import (
	"fmt"
	"slices"
	"time"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
)

// In a third of the seeds hosts have segmented logs with up to three lanes, and lanes are added. Each lane is on a device of its own: a
// power cut leaves much of one and nothing of another, a sync fails in one alone. What is promised then is promised for each replica by itself: its
// writes are there in their order, whole, and what it was told is durable. So the writes of a host with lanes are kept apart by replica.

// maxLanes is the greatest number of lanes.
const maxLanes = 3

// segmented is a segmented log with one lane or several.
type segmented interface {
	logdb.LogDB
	RunOnce(now time.Duration) time.Duration
}

// laneDirectories returns the directories of a log store with so many lanes.
func laneDirectories(lanes int) []string {
	directories := []string{logDirectory}
	for lane := 1; lane < lanes; lane++ {
		directories = append(directories, fmt.Sprintf("%s-%d", logDirectory, lane))
	}
	return directories
}

func openSegmented(f *files) (segmented, error) {
	options := seglog.Options{
		FS: f, Dir: f.directories[0], Directories: f.directories[1:], Manual: true, SegmentBytes: 2 * seglog.MinSegmentBytes, IdleDelay: 5 * time.Millisecond,
	}
	if len(f.directories) > 1 {
		lanes, err := seglog.OpenLanes(options)
		if err != nil {
			return nil, err
		}
		return lanes, nil
	}
	store, err := seglog.Open(options)
	if err != nil {
		return nil, err
	}
	return store, nil
}

// drawLanes draws how many lanes the disk of a host has at first. It draws from nothing that anything else draws from.
func drawLanes(o *Options, host int) int {
	draws := random{state: mix(o.Seed ^ 0x6c616e6573)}
	if o.LogDB != seglogLogDB || !draws.chance(1.0/3) {
		return 1
	}
	own := random{state: draws.next() + uint64(host)}
	return 1 + own.below(maxLanes)
}

// addLane gives a disk that has several lanes another one now and then, for which the store has to be opened anew.
func (d *disk) addLane() {
	if d.lanes > 1 && d.lanes < maxLanes && d.random.chance(0.3) {
		d.lanes++
		d.host.world.counters.add(countLaneAdded, 1)
	}
}

// split makes a write for each replica of one that was handed to a store with lanes. Each is durable by itself.
func (d *disk) split(whole *write) []*write {
	if d.lanes == 1 {
		return []*write{whole}
	}
	var parts []*write
	for i := range whole.updates {
		u := &whole.updates[i]
		at := slices.IndexFunc(parts, func(p *write) bool { return p.key == u.key })
		if at < 0 {
			at = len(parts)
			parts = append(parts, &write{number: whole.number, life: whole.life, key: u.key})
		}
		parts[at].updates = append(parts[at].updates, *u)
		parts[at].mustSync = parts[at].mustSync || u.mustSync
	}
	return parts
}

// hardenUpTo makes a write durable, and those before it that the same sync has made so.
func (d *disk) hardenUpTo(wr *write) {
	at := slices.Index(d.uncertain, wr)
	if at < 0 {
		return
	}
	left := d.uncertain[:0]
	for i, other := range d.uncertain {
		if i > at || other.key != wr.key {
			left = append(left, other)
			continue
		}
		d.harden(other)
		if d.onFiles() == nil {
			d.spare = append(d.spare, other)
		}
	}
	d.uncertain = left
}

// takeApart is take for a disk with lanes: of each replica some of its writes are there. They are made durable when all replicas were looked at, for
// what that takes out of a full trail goes into the base.
func (d *disk) takeApart(found content, base map[logdb.ReplicaKey]*mirror, writes []*write, known, least int) {
	w := d.host.world
	less, lost := false, 0
	var survived []*write
	for _, p := range d.host.places {
		if p == nil || found.damaged[keyOf(p)] {
			continue
		}
		key := keyOf(p)
		alone := content{logs: found.logs, damaged: map[logdb.ReplicaKey]bool{}}
		for _, other := range d.host.places {
			if other != nil && other != p {
				alone.damaged[keyOf(other)] = true
			}
		}
		kept := d.match(base, writes, alone)
		if kept < least && !d.apart(base, writes, found) {
			w.violate("durability", "host %d: after a power cut the log store with %d lanes has not what was durable of %s with the first of the writes under "+
				"way (files damaged: %v): %s", d.host.index+1, d.lanes, p.describe(), d.damaged, d.difference(found))
			return
		}
		less = less || kept < known
		for i, wr := range writes[known:] {
			switch {
			case wr.key != key:
			case known+i < kept:
				survived = append(survived, wr)
			default:
				lost++
			}
		}
	}
	for _, wr := range survived {
		d.harden(wr)
	}
	w.counters.add(countLostWrites, lost)
	if less {
		d.lessThanDurable(found)
	}
}
