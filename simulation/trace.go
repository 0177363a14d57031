package simulation

import (
	"fmt"
	"io"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// recordKind says what a record of the trace is about.
type recordKind uint8

const (
	recordSend    recordKind = iota + 1 // a message is handed to the network
	recordDeliver                       // a frame reaches a host
	recordDrop                          // a frame is lost
	recordWrite                         // a replica's update goes to the disk
	recordSync                          // the disk completes a write
	recordApply                         // a state machine is given a command
	recordCall                          // a client asks
	recordAnswer                        // a client is answered
	recordFault                         // something is broken or mended
	recordEvent                         // the engine reports
	recordWorker                        // a worker runs
	recordEnd                           // the hash of a disk at the end
)

var recordNames = [...]string{
	recordSend: "send", recordDeliver: "deliver", recordDrop: "drop", recordWrite: "write", recordSync: "sync",
	recordApply: "apply", recordCall: "call", recordAnswer: "answer", recordFault: "fault", recordEvent: "event",
	recordWorker: "run", recordEnd: "disk",
}

// record is one line of the trace. What the numbers mean depends on the kind; text is a constant, so that it costs nothing.
type record struct {
	at          int64
	kind        recordKind
	detail      uint8
	host, other int32
	shard       uint64
	numbers     [6]uint64
	text        string
}

// tailRecords is how many records are kept for the report of a violation.
const tailRecords = 400

// trace keeps a running hash of everything that happened, and the last records. With a writer it writes all of them.
type trace struct {
	hash    uint64
	records uint64
	tail    [tailRecords]record
	out     io.Writer
}

func (t *trace) add(r record) {
	h := t.hash
	h = mix(h ^ uint64(r.at))
	h = mix(h ^ (uint64(r.kind)<<56 | uint64(r.detail)<<48 | uint64(uint16(r.host))<<32 | uint64(uint16(r.other))<<16 | r.shard<<1))
	for _, n := range r.numbers {
		h = h*0x9e3779b97f4a7c15 + n
		h ^= h >> 29
	}
	t.hash = h
	t.tail[t.records%tailRecords] = r
	t.records++
	if t.out != nil {
		_, _ = fmt.Fprintln(t.out, r.String())
	}
}

// last returns up to n of the last records, oldest first.
func (t *trace) last(n int) []string {
	from := uint64(0)
	if kept := uint64(min(n, tailRecords)); t.records > kept {
		from = t.records - kept
	}
	var lines []string
	for i := from; i < t.records; i++ {
		lines = append(lines, t.tail[i%tailRecords].String())
	}
	return lines
}

// String returns the record in one line.
func (r record) String() string {
	n := r.numbers
	head := fmt.Sprintf("%13.6f h%d %-7s", time.Duration(r.at).Seconds(), r.host+1, recordNames[r.kind])
	switch r.kind {
	case recordSend:
		return fmt.Sprintf("%s to h%d shard %d %s term %d log %d/%d commit %d request %d hint %d", head, r.other+1, r.shard,
			describeMessage(r.detail, uint8(n[4])), n[0], n[1], n[2], n[3], n[4]>>8, n[5])
	case recordDeliver, recordDrop:
		return fmt.Sprintf("%s from h%d frame %d (%d bytes)", head, r.other+1, n[0], n[1])
	case recordWrite:
		return fmt.Sprintf("%s shard %d number %d term %d vote %d truncate %d batches %d last %d", head, r.shard, n[0], n[1], n[2],
			n[3], n[4], n[5])
	case recordSync:
		return fmt.Sprintf("%s write %d%s", head, n[0], r.text)
	case recordApply:
		return fmt.Sprintf("%s shard %d index %d operation %d state %x", head, r.shard, n[0], n[1], n[2])
	case recordCall:
		return fmt.Sprintf("%s shard %d operation %d %s key %d", head, r.shard, n[0], r.text, n[1])
	case recordAnswer:
		return fmt.Sprintf("%s shard %d operation %d %s index %d", head, r.shard, n[0], r.text, n[1])
	case recordEvent:
		return fmt.Sprintf("%s shard %d %s term %d leader %d peer %d", head, r.shard, r.text, n[0], n[1], n[2])
	case recordWorker:
		return fmt.Sprintf("%s %s", head, r.text)
	}
	return fmt.Sprintf("%s shard %d %s %d %d %x", head, r.shard, r.text, n[0], n[1], n[2])
}

func describeMessage(message, reason uint8) string {
	if reason != 0 {
		return fmt.Sprintf("%v (%v)", raftpb.MessageType(message), raftpb.Reason(reason))
	}
	return raftpb.MessageType(message).String()
}
