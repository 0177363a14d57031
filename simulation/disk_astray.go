package simulation

import (
	"slices"
	"time"
)

// promiseDelay is how late a promise may be recorded (R14).
const promiseDelay = int64(time.Second)

// gone reports whether a replica may have lost to a write that went astray what the segmented log cannot know to be lost: its newest groups, since
// the store was opened or from before that, or all that there is of it. What is left of a quiet replica once its old segments were emptied stands close
// together, and so do what bears witness of it and what it saved since: a block lies between them, which is more than one struck place reaches, but not more
// than a write of several groups' length. Then no record names the replica any more, or none that was the newest; all that the store knows is that
// groups are missing.
//
// The record of promises has to show it then (R14), unless it is younger than that may be late.
func (d *disk) gone(p *place, found content) bool {
	if !d.astray {
		return false
	}
	m := found.logs[keyOf(p)]
	switch {
	case m == nil:
		m = &mirror{}
	case d.durable[keyOf(p)] == nil || !m.wasBefore(d.durable[keyOf(p)]):
		return false
	}
	return noticed(m, d.host.promise.records[keyOf(p)]) || !p.recorded()
}

// recorded says that the record of promises has all by now that the replica promised before its present start: it runs for long enough.
// What it wrote since is in the trail.
func (p *place) recorded() bool {
	return p.runsSince != 0 && p.host.world.now-p.runsSince > promiseDelay
}

// wasBefore reports whether a log is what another one was before it grew.
func (m *mirror) wasBefore(later *mirror) bool {
	return m.incarnation == later.incarnation && m.installing == later.installing && later.floor <= m.compacted && m.compacted <= later.compacted &&
		(m.state.Term < later.state.Term || m.state.Term == later.state.Term && m.state.Vote == later.state.Vote) && m.state.Commit <= later.state.Commit &&
		m.last() <= later.last() && slices.Equal(m.entries, later.entries[:m.last()])
}
