package seglog

import (
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// seedSegment returns the bytes of a segment with a few groups and a footer, and its number.
func seedSegment(t testing.TB) (data []byte, number uint64) {
	memory := vfs.NewMem()
	options := manual(memory)
	for range 2 {
		s, err := Open(options)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorkload(3, 2, 50)
		for range 2 {
			c := w.append(w.logs[0], 1)
			commit(t, s, c, func(error) {})
			s.RunOnce(0)
		}
		number = s.order[0].number
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return readFile(t, memory, "log/"+segmentName(number)), number
}

// FuzzScan: no bytes of a segment make the scan panic, loop, or name a place outside of them; what it returns can be applied.
func FuzzScan(f *testing.F) {
	data, number := seedSegment(f)
	f.Add(data, number, uint64(1), uint64(0))
	f.Add(data, number, uint64(1), uint64(4))
	f.Add(data[:2*blockSize+100], number, uint64(1), uint64(9))
	f.Add([]byte{}, uint64(1), uint64(1), uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, number, first, demanded uint64) {
		if demanded > 1<<40 || first > 1<<40 || first == 0 {
			return // numbers of groups come from headers with a checksum
		}
		found := scanSegment(data, number, first, demanded)
		if found.next < first {
			t.Fatalf("the next group is %d, the first was %d", found.next, first)
		}
		x := newIndex()
		x.replaying = true
		for _, g := range found.groups {
			for i := range g.records {
				r := &g.records[i]
				if len(r.bytes)%recordAlign != 0 || r.operation.offset < blockSize || r.operation.offset+int64(len(r.bytes)) > int64(len(data)) {
					t.Fatalf("record of %d bytes at %d of %d", len(r.bytes), r.operation.offset, len(data))
				}
				x.follows(&r.operation)
				x.apply(&r.operation, uint32(number))
			}
		}
	})
}

// FuzzFooter: no bytes make the decoder of footers panic or name what cannot be.
func FuzzFooter(f *testing.F) {
	data, number := seedSegment(f)
	for at := int64(0); at+headerSize <= int64(len(data)); at += blockSize {
		if t, err := decodeTrailer(data[at:], number); err == nil {
			f.Add(data[t.footerOffset : t.footerOffset+int64(t.footerLength)])
		}
	}
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var reader footerReader
		if reader.begin(data) != nil {
			return
		}
		x := newIndex()
		x.replaying = true
		again := newFooter()
		for {
			var o operation
			more, first, err := reader.next(&o)
			if err != nil {
				return
			}
			if !more {
				break
			}
			if o.offset < blockSize || o.flags&saveBatch != 0 && (o.batch < recordHeaderSize || o.batch > recordHeaderSize+o.length) {
				t.Fatalf("operation %+v", o)
			}
			if first {
				x.follows(&o)
			}
			x.apply(&o, 1)
			again.add(&o)
		}
		var second footerReader
		if err := second.begin(again.encode()); err != nil {
			t.Fatalf("what was decoded does not decode again: %v", err)
		}
	})
}

// FuzzRecord: no body makes the decoder of records panic; what it accepts with its checksums describes a batch within the body.
func FuzzRecord(f *testing.F) {
	key := logdb.ReplicaKey{ShardID: 1, ReplicaID: 2}
	var group Group
	batch := logdbtest.Batch(1, 1, 1, 2, 30)
	group.addSave(recordSave, key, saveState|saveTruncate|saveBatch, raftpb.HardState{Term: 3, Vote: 1, Commit: 9}, 1, batch)
	group.Compact(key, 7, 3)
	group.add(recordConfig, key, raftpb.AppendConfigRecord(nil, raftpb.ConfigRecord{Index: 3, Membership: testMembership(3)}))
	group.install(key, &raftpb.SnapshotMeta{ShardID: 1, ReplicaID: 2, Index: 9, Term: 2, Config: raftpb.ConfigRecord{Index: 3, Membership: testMembership(3)}})
	group.add(recordInstall, key, nil)
	group.add(recordBootstrap, key, raftpb.AppendBootstrap(nil, raftpb.Bootstrap{Incarnation: 1, Initial: testMembership(3)}))
	for at := 0; at < len(group.data); {
		h := rawRecordHeader(group.data[at:])
		f.Add(uint8(h.kind), h.bodySum, group.data[at+recordHeaderSize:at+recordHeaderSize+int(h.length)])
		at += recordBytes(int(h.length))
	}
	f.Fuzz(func(t *testing.T, kind uint8, sum uint32, body []byte) {
		h := recordHeader{kind: recordKind(kind & 15), length: uint32(len(body)), key: key, bodySum: sum}
		var o operation
		if decodeOperation(h, body, blockSize, true, &o) != nil || o.flags&saveBatch == 0 {
			return
		}
		if _, err := logdb.VerifyBatch(key, slices.Clone(body[o.batch-recordHeaderSize:])); err != nil {
			t.Fatalf("accepted with a batch that is refused: %v", err)
		}
	})
}

// FuzzHeaders: no bytes make the decoders of headers panic, and none accepts a header of another kind, place or generation.
func FuzzHeaders(f *testing.F) {
	b := make([]byte, headerSize)
	segmentHeader{segment: 7, first: 3, replaces: 5, floor: 1}.encode(b)
	f.Add(slices.Clone(b))
	groupHeader{segment: 7, offset: blockSize, length: 500, records: 3, seq: 9, durable: 8, floor: 2}.encode(b)
	f.Add(slices.Clone(b))
	trailer{segment: 7, footerOffset: 3 * blockSize, footerLength: 99, first: 3, last: 9}.encode(b)
	f.Add(slices.Clone(b))
	f.Add(encodeFormat(77))
	f.Fuzz(func(t *testing.T, data []byte) {
		accepted := 0
		if _, err := decodeSegmentHeader(data, 7); err == nil {
			accepted++
		}
		if h, err := decodeGroupHeader(data, 7, blockSize); err == nil {
			accepted++
			if h.durable >= h.seq || h.offset != blockSize || h.segment != 7 {
				t.Fatalf("%+v", h)
			}
		}
		if _, err := decodeTrailer(data, 7); err == nil {
			accepted++
		}
		if _, err := decodeFormat(data); err == nil {
			accepted++
		}
		if accepted > 1 {
			t.Fatal("accepted as two things")
		}
		for _, segment := range []uint64{6, 8} {
			_, a := decodeSegmentHeader(data, segment)
			_, b := decodeTrailer(data, segment)
			_, c := decodeGroupHeader(data, segment, blockSize)
			if accepted == 1 && (a == nil || b == nil || c == nil) {
				t.Fatal("accepted as of two generations")
			}
		}
		_, _ = decodeRecordHeader(data, 7, blockSize)
		_, _, _ = parseName(string(data))
	})
}
