package seglog

import (
	"fmt"
	"strings"

	"github.com/flotilla-raft/flotilla/logdb"
)

// unread is damage whose owner cannot be read.
type unread struct {
	file string
	damaged
}

// follows checks that a record is the next in the chain of its replica. If one is missing, the reason says where it should stand, and which part of the log
// it concerns, as far as that can be told.
func (r *recovery) follows(o *operation, segment uint32) {
	x := r.store.index
	before := x.replicas[o.key]
	if before != nil && before.damaged {
		return
	}
	x.follows(o)
	p := x.replicas[o.key]
	if p == nil || !p.damaged {
		return
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s; found at %d of %s; %s", x.damage[o.key], o.offset, segmentName(uint64(segment)), r.whereGroup(o.previous>>16))
	if last := p.lastIndex(); last != 0 {
		fmt.Fprintf(&text, "; the log up to index %d is there", last)
	} else {
		text.WriteString("; no index before it is there")
	}
	if o.flags&saveBatch != 0 {
		fmt.Fprintf(&text, ", and index %d is the next that was found", o.first)
	}
	x.damage[o.key] = text.String()
}

// whereGroup says in which file a group should stand, and what cannot be read there.
func (r *recovery) whereGroup(group uint64) string {
	var in *found
	for _, f := range r.files {
		if f.header.first <= group {
			in = f
		}
	}
	if in == nil || in.next != 0 && group >= in.next {
		return fmt.Sprintf("group %d is in none of the files", group)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "group %d belongs in %s", group, in.name)
	for _, u := range r.unread {
		if u.file == in.name {
			fmt.Fprintf(&text, ", damaged at %d (%s)", u.offset, u.why)
		}
	}
	return text.String()
}

// reasonOf returns what an error about damage says besides that it is damage, and whose: that is said again where the reason is told.
func reasonOf(key logdb.ReplicaKey, err error) string {
	return strings.Replace(err.Error(), fmt.Sprintf("%v: %v: ", logdb.ErrDamaged, key), "", 1)
}

// extent says what is there of a log that is damaged.
func (p *replica) extent() string {
	next := p.compacted + 1
	for i := range p.runs {
		if p.runs[i].first > next {
			return fmt.Sprintf("of the log, indexes %d to %d are missing", next, p.runs[i].first-1)
		}
		next = p.runs[i].last() + 1
	}
	return fmt.Sprintf("the log up to index %d is there", next-1)
}
