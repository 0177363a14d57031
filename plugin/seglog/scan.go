package seglog

import (
	"fmt"

	"github.com/flotilla-raft/flotilla/logdb"
)

// scanned is what was found in one group of a segment that has no footer.
type scanned struct {
	header  groupHeader
	offset  int64
	records []scannedRecord // those that are whole, in order
}

// scannedRecord is a whole record: its bytes alias what was read of the file.
type scannedRecord struct {
	bytes     []byte
	operation operation
}

// damaged is what is known of bytes that were durable once and cannot be read any more.
type damaged struct {
	offset int64
	key    logdb.ReplicaKey // whose they are
	known  bool             // key is
	why    string
}

// scan is what was found in a segment.
type scan struct {
	groups  []scanned
	damage  []damaged
	next    uint64 // number of the group behind the last
	floor   uint64 // the highest that a group says
	torn    int64  // where the stream was cut, 0 if it ends with the last group
	missing uint64 // groups that are gone whole
}

// scanner walks through the groups of a segment.
type scanner struct {
	data    []byte
	segment uint64
	// demanded: groups up to this one were durable, by what later segments say.
	demanded uint64
	scan
}

// scanSegment finds the groups in the bytes of a segment, of which the first has the number first.
//
// A group that is not whole is the stream's end, torn by a power cut, unless something that was written later says that it was durable: a group
// behind it in the segment, or that a later segment was begun (R11). Then it is damage. What can be read in it still counts, and
// whose the rest is stands in the headers of the records; where those cannot be read either, the chains of the replicas show the holes.
func scanSegment(data []byte, segment, first, demanded uint64) scan {
	s := &scanner{data: data, segment: segment, demanded: demanded}
	s.next = first
	at := int64(blockSize)
	for at < int64(len(data)) {
		h, err := s.group(at)
		if err == nil && h.seq == s.next {
			if g, whole := s.records(h, at); whole {
				s.add(g)
				at = s.end(h, at)
				continue
			}
		}
		if at = s.bad(at, h, err == nil); at < 0 {
			return s.scan
		}
	}
	if s.next <= demanded {
		s.lose(demanded + 1)
	}
	return s.scan
}

// groupWhole reports whether the bytes that were read at an offset of a segment begin with a whole group.
func groupWhole(data []byte, segment uint64, offset int64) bool {
	h, err := decodeGroupHeader(data, segment, offset)
	if err != nil || int64(h.length) > int64(len(data)) {
		return false
	}
	count := uint32(0)
	for at := int64(headerSize); at < int64(h.length); count++ {
		r, err := decodeRecordHeader(data[at:h.length], segment, offset+at)
		if err != nil {
			return false
		}
		var o operation
		body := data[at+recordHeaderSize : at+recordHeaderSize+int64(r.length)]
		if decodeOperation(r, body, offset+at, true, &o) != nil {
			return false
		}
		at += int64(recordBytes(int(r.length)))
	}
	return count == h.records
}

func (s *scanner) add(g scanned) {
	s.groups = append(s.groups, g)
	s.next = g.header.seq + 1
	s.floor = max(s.floor, g.header.floor)
}

// lose notes that groups are missing, up to the one before next.
func (s *scanner) lose(next uint64) {
	s.missing += next - s.next
	s.damage = append(s.damage, damaged{offset: int64(len(s.data)), why: fmt.Sprintf("groups %d to %d are missing", s.next, next-1)})
	s.next = next
}

// group decodes the header of a group at an offset.
func (s *scanner) group(at int64) (groupHeader, error) {
	return decodeGroupHeader(s.data[at:], s.segment, at)
}

// end returns where the group behind one begins.
func (s *scanner) end(h groupHeader, at int64) int64 {
	return at + alignUp(int64(h.length))
}

// records decodes the records of a group and reports whether all are whole.
func (s *scanner) records(h groupHeader, at int64) (g scanned, whole bool) {
	g = scanned{header: h, offset: at}
	end := at + int64(h.length)
	if end > int64(len(s.data)) {
		return g, false
	}
	count := uint32(0)
	for p := at + headerSize; p < end; count++ {
		record, ok := s.record(p, end)
		if !ok {
			return g, false
		}
		g.records = append(g.records, record)
		p += int64(len(record.bytes))
	}
	return g, count == h.records
}

// record decodes the record at an offset, and checks it whole.
func (s *scanner) record(at, end int64) (r scannedRecord, ok bool) {
	h, err := decodeRecordHeader(s.data[at:end], s.segment, at)
	if err != nil {
		return r, false
	}
	size := recordBytes(int(h.length))
	if int64(size) > end-at {
		return r, false
	}
	body := s.data[at+recordHeaderSize : at+recordHeaderSize+int64(h.length)]
	r.bytes = s.data[at : at+int64(size)]
	return r, decodeOperation(h, body, at, true, &r.operation) == nil
}

// bad decides what a group that is not whole means, and returns where to go on, or a negative number at the end of the stream.
func (s *scanner) bad(at int64, h groupHeader, readable bool) int64 {
	from := at + blockSize
	if readable && h.seq == s.next && s.end(h, at) <= int64(len(s.data)) {
		from = s.end(h, at)
	} else if readable && h.seq > s.next {
		from = at
	}
	next, behind := s.nextGroup(from)
	if max(s.demanded, s.witness(from)) < s.next {
		s.torn = at
		return -1
	}
	if behind < 0 {
		behind = int64(len(s.data))
		next.seq = s.demanded + 1
	}
	lost := next.seq - s.next
	if from < behind || lost > 1 || !readable {
		s.damage = append(s.damage, damaged{offset: at, why: fmt.Sprintf("%d groups from %d on cannot be read", lost, s.next)})
	}
	if behind > at {
		s.salvage(at, behind, lost == 1, h)
	}
	s.missing += lost
	s.next = next.seq
	return behind
}

// nextGroup finds the next readable header of a group that can follow.
func (s *scanner) nextGroup(from int64) (groupHeader, int64) {
	for at := from; at < int64(len(s.data)); at += blockSize {
		if h, err := s.group(at); err == nil && h.seq >= s.next {
			return h, at
		}
	}
	return groupHeader{}, -1
}

// witness returns the last group that was known durable by what stands behind an offset.
func (s *scanner) witness(from int64) (durable uint64) {
	for at := from; at < int64(len(s.data)); at += blockSize {
		if h, err := s.group(at); err == nil {
			durable = max(durable, h.durable)
		}
	}
	return durable
}

// salvage keeps what is whole in a damaged part of the stream and finds out whose the rest is. If it is not known which group it was,
// nothing is kept of it, and all who have something there are damaged.
func (s *scanner) salvage(at, end int64, one bool, h groupHeader) {
	g := scanned{offset: at, header: groupHeader{seq: s.next, durable: h.durable, floor: h.floor}}
	for p := at; p+recordHeaderSize <= end; {
		header, err := decodeRecordHeader(s.data[p:end], s.segment, p)
		if err != nil {
			p += recordAlign
			continue
		}
		record, whole := s.record(p, end)
		if whole && one {
			g.records = append(g.records, record)
		} else {
			why := fmt.Sprintf("record of %d bytes in damaged group %d", header.length, s.next)
			s.damage = append(s.damage, damaged{offset: p, key: header.key, known: true, why: why})
		}
		p = min(end, p+int64(recordBytes(int(header.length))))
	}
	if len(g.records) > 0 {
		s.groups = append(s.groups, g)
		s.incomplete(&g)
	}
}

// incomplete finds the replicas of a damaged group whose last record there is gone: what they saved must not be taken for all of it.
func (s *scanner) incomplete(g *scanned) {
	last := map[logdb.ReplicaKey]int{}
	for i := range g.records {
		last[g.records[i].operation.key] = i
	}
	for i := range g.records {
		if o := &g.records[i].operation; last[o.key] == i && !o.last && o.kind != recordVoid {
			s.damage = append(s.damage, damaged{offset: o.offset, key: o.key, known: true, why: fmt.Sprintf("the last record in damaged group %d", s.next)})
		}
	}
}
