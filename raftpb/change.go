package raftpb

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

var (
	changeFields = []fieldSpec{
		1: {"if_id", protowire.VarintType},
		2: {"members", protowire.BytesType},
	}
	memberChangeFields = []fieldSpec{
		1: {"replica_id", protowire.VarintType},
		2: {"kind", protowire.VarintType},
		3: {"address", protowire.BytesType},
		4: {"priority", protowire.VarintType},
	}
)

// AppendMembershipChange appends the encoding of a MembershipChange.
func AppendMembershipChange(dst []byte, change MembershipChange) []byte {
	dst = appendUint(dst, 1, change.IfID)
	for i := range change.Members {
		member := &change.Members[i]
		length := sizeUint(1, member.ReplicaID) + sizeUint(2, uint64(member.Kind)) + sizeUint(4, uint64(member.Priority))
		if member.Address != "" {
			length += sizeBytes(3, len(member.Address))
		}
		dst = appendLength(dst, 2, length)
		dst = appendUint(dst, 1, member.ReplicaID)
		dst = appendUint(dst, 2, uint64(member.Kind))
		if member.Address != "" {
			dst = appendLength(dst, 3, len(member.Address))
			dst = append(dst, member.Address...)
		}
		dst = appendUint(dst, 4, uint64(member.Priority))
	}
	return dst
}

// DecodeMembershipChange decodes data, which must be exactly one MembershipChange. It aliases nothing of data. Errors are
// ErrBadRecord. Whether the change is possible is for the protocol to say.
func DecodeMembershipChange(data []byte) (MembershipChange, error) {
	var change MembershipChange
	reader := fieldReader{data: data, specs: changeFields}
	for reader.next() {
		if reader.number == 1 {
			change.IfID = reader.value
			continue
		}
		position := len(change.Members)
		if position == MaxMembers {
			return MembershipChange{}, fmt.Errorf("%w: membership change: members: more than %d", ErrBadRecord, MaxMembers)
		}
		member, err := decodeMemberChange(reader.bytes)
		if err != nil {
			return MembershipChange{}, fmt.Errorf("%w: membership change: members[%d].%w", ErrBadRecord, position, err)
		}
		change.Members = append(change.Members, member)
	}
	if reader.err != nil {
		return MembershipChange{}, fmt.Errorf("%w: membership change: %w", ErrBadRecord, reader.err)
	}
	return change, nil
}

func decodeMemberChange(data []byte) (MemberChange, error) {
	var member MemberChange
	reader := fieldReader{data: data, specs: memberChangeFields}
	for reader.next() {
		switch reader.number {
		case 1:
			member.ReplicaID = reader.value
		case 2:
			if reader.value > uint64(Witness) {
				return MemberChange{}, fmt.Errorf("kind: %d, want 0 to %d", reader.value, Witness)
			}
			member.Kind = MemberKind(reader.value)
		case 3:
			if len(reader.bytes) > MaxAddressLength {
				return MemberChange{}, fmt.Errorf("address: %d bytes, want at most %d", len(reader.bytes), MaxAddressLength)
			}
			if !utf8.Valid(reader.bytes) {
				return MemberChange{}, fmt.Errorf("address: %q, want UTF-8", reader.bytes)
			}
			member.Address = string(reader.bytes)
		case 4:
			if reader.value > 255 {
				return MemberChange{}, fmt.Errorf("priority: %d, want 0 to 255", reader.value)
			}
			member.Priority = Priority(reader.value)
		}
	}
	return member, reader.err
}
