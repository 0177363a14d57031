package raftpb

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// fieldSpec names a field of a protobuf message and its wire type, indexed by number; unused numbers have no name.
type fieldSpec struct {
	name string
	wire protowire.Type
}

// fieldReader walks over the fields of one encoded protobuf message. Unknown fields are skipped, as protobuf demands of
// readers that are older than the writer; a known one with the wrong wire type is an error. Everything that it
// returns aliases data and keeps the capacity of data.
type fieldReader struct {
	data     []byte
	position int
	specs    []fieldSpec

	number uint64 // of the current field
	value  uint64 // of a varint or a fixed64
	bytes  []byte // of a length-delimited field
	err    error  // names the field, without a sentinel
}

// next steps to the next known field.
func (r *fieldReader) next() bool {
	for r.position < len(r.data) {
		tag, position := uvarint(r.data, r.position)
		if position < 0 {
			return r.fail("field tag is cut off or too long")
		}
		r.position = position
		r.number = tag >> 3
		wire := protowire.Type(tag & 7)
		if r.number >= uint64(len(r.specs)) || r.specs[r.number].name == "" {
			if !r.skip(wire) {
				return false
			}
			continue
		}
		if wire != r.specs[r.number].wire {
			return r.fail("wire type %d, want %d", wire, r.specs[r.number].wire)
		}
		return r.read(wire)
	}
	return false
}

// read reads the value of the current field.
func (r *fieldReader) read(wire protowire.Type) bool {
	if wire == protowire.Fixed64Type {
		if len(r.data)-r.position < 8 {
			return r.fail("cut off")
		}
		r.value = binary.LittleEndian.Uint64(r.data[r.position:])
		r.position += 8
		return true
	}
	value, position := uvarint(r.data, r.position)
	if position < 0 {
		return r.fail("varint is cut off or too long")
	}
	r.position = position
	if wire == protowire.VarintType {
		r.value = value
		return true
	}
	if value > uint64(len(r.data)-position) {
		return r.fail("length %d, want at most the %d bytes left", value, len(r.data)-position)
	}
	// Two indexes, not three: see Decoder.
	r.bytes = r.data[position : position+int(value)]
	r.position += int(value)
	return true
}

func (r *fieldReader) skip(wire protowire.Type) bool {
	if r.number == 0 || r.number > uint64(protowire.MaxValidNumber) {
		return r.fail("number is out of range")
	}
	n := protowire.ConsumeFieldValue(protowire.Number(r.number), wire, r.data[r.position:])
	if n < 0 {
		return r.fail("unknown field: %v", protowire.ParseError(n))
	}
	r.position += n
	return true
}

func (r *fieldReader) fail(format string, arguments ...any) bool {
	name := fmt.Sprintf("field %d", r.number)
	if r.number < uint64(len(r.specs)) && r.specs[r.number].name != "" {
		name = r.specs[r.number].name
	}
	r.err = fmt.Errorf("%s: %s", name, fmt.Sprintf(format, arguments...))
	return false
}

// uvarint returns the varint at position and the position after it, which is negative if there is none.
func uvarint(data []byte, position int) (value uint64, next int) {
	if position < len(data) && data[position] < 0x80 {
		return uint64(data[position]), position + 1
	}
	return longUvarint(data, position)
}

//go:noinline
func longUvarint(data []byte, position int) (value uint64, next int) {
	value, n := protowire.ConsumeVarint(data[position:])
	if n < 0 {
		return 0, -1
	}
	return value, position + n
}

// The functions below append a field unless its value is zero, which proto3 leaves out, or give the length of what
// they would append.

func appendUint(dst []byte, number protowire.Number, value uint64) []byte {
	if value == 0 {
		return dst
	}
	return protowire.AppendVarint(appendTag(dst, number, protowire.VarintType), value)
}

func sizeUint(number protowire.Number, value uint64) int {
	if value == 0 {
		return 0
	}
	return sizeTag(number) + protowire.SizeVarint(value)
}

func appendBool(dst []byte, number protowire.Number, value bool) []byte {
	return appendUint(dst, number, protowire.EncodeBool(value))
}

func appendFixed(dst []byte, number protowire.Number, value uint64) []byte {
	if value == 0 {
		return dst
	}
	return binary.LittleEndian.AppendUint64(appendTag(dst, number, protowire.Fixed64Type), value)
}

func sizeFixed(number protowire.Number, value uint64) int {
	if value == 0 {
		return 0
	}
	return sizeTag(number) + 8
}

func appendLength(dst []byte, number protowire.Number, length int) []byte {
	return protowire.AppendVarint(appendTag(dst, number, protowire.BytesType), uint64(length))
}

func sizeBytes(number protowire.Number, length int) int {
	return sizeTag(number) + protowire.SizeVarint(uint64(length)) + length
}

// appendTag handles numbers below 2048, twice as many as two bytes of tag need here.
func appendTag(dst []byte, number protowire.Number, wire protowire.Type) []byte {
	tag := uint32(number)<<3 | uint32(wire)
	if tag < 0x80 {
		return append(dst, byte(tag))
	}
	return append(dst, byte(tag)|0x80, byte(tag>>7))
}

func sizeTag(number protowire.Number) int {
	if number < 16 {
		return 1
	}
	return 2
}
