package raftpb

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Limits of a Membership.
const (
	// MaxMembers is the highest number of members of a shard.
	MaxMembers = 1024
	// MaxAddressLength is the greatest length in bytes of a member's address.
	MaxAddressLength = 512
)

// OperationSelf in Membership.Operation stands for the membership's own ID until it is stamped: it begins a change.
const OperationSelf = 1<<64 - 1

var (
	membershipFields = []fieldSpec{
		1: {"id", protowire.VarintType},
		2: {"members", protowire.BytesType},
		3: {"outgoing", protowire.BytesType},
		4: {"operation", protowire.VarintType},
	}
	memberFields = []fieldSpec{
		1: {"replica_id", protowire.VarintType},
		2: {"kind", protowire.VarintType},
		3: {"incarnation", protowire.Fixed64Type},
		4: {"address", protowire.BytesType},
		5: {"goal", protowire.VarintType},
		6: {"priority", protowire.VarintType},
		7: {"added", protowire.VarintType},
		8: {"healed", protowire.VarintType},
	}
)

// NewNoOp returns the unstamped batch with the single empty entry that a new leader appends in its term.
func NewNoOp(shard uint64) Batch {
	arena := AppendEntry(make([]byte, HeaderSize, HeaderSize+1), nil)
	return SealArena(arena, 1, shard, KindNoOp, Origin{}, 0)
}

// NewMembership returns the unstamped batch with the single entry that makes membership the shard's configuration. Its
// ID is not known before the stamp and is not written; Batch.Membership puts it in. An Operation of OperationSelf stands for that
// same ID. The caller has validated membership.
func NewMembership(shard uint64, membership Membership) Batch {
	membership.ID = 0
	entry := EncodeMembership(membership)
	arena := AppendEntry(make([]byte, HeaderSize, HeaderSize+len(entry)+3), entry)
	return SealArena(arena, 1, shard, KindMembership, Origin{}, 0)
}

// Membership decodes the configuration that a membership batch holds; its ID is the index of the entry. It aliases
// nothing of the batch. Errors: ErrBadBatch, ErrNotPlain, ErrBadRecord.
func (b Batch) Membership() (Membership, error) {
	if b.Kind() != KindMembership || b.Count() != 1 {
		return Membership{}, fmt.Errorf("%w: kind %s with %d entries, want one membership", ErrBadBatch, b.Kind(), b.Count())
	}
	it := b.Iterator()
	var entry []byte
	for it.Next() {
		entry = it.Command()
	}
	if it.Err() != nil {
		return Membership{}, it.Err()
	}
	membership, err := DecodeMembership(entry)
	membership.ID = b.First()
	if membership.Operation == OperationSelf {
		membership.Operation = b.First()
	}
	return membership, err
}

// EncodeMembership returns the encoding of a Membership.
func EncodeMembership(membership Membership) []byte {
	return AppendMembership(make([]byte, 0, membershipLength(membership)), membership)
}

// AppendMembership appends the encoding of a Membership.
func AppendMembership(dst []byte, membership Membership) []byte {
	dst = appendUint(dst, 1, membership.ID)
	dst = appendMembers(dst, 2, membership.Members)
	dst = appendMembers(dst, 3, membership.Outgoing)
	return appendUint(dst, 4, membership.Operation)
}

func appendMembers(dst []byte, number protowire.Number, members []Member) []byte {
	for i := range members {
		member := &members[i]
		dst = appendLength(dst, number, memberLength(member))
		dst = appendUint(dst, 1, member.ReplicaID)
		dst = appendUint(dst, 2, uint64(member.Kind))
		dst = appendFixed(dst, 3, member.Incarnation)
		if member.Address != "" {
			dst = appendLength(dst, 4, len(member.Address))
			dst = append(dst, member.Address...)
		}
		dst = appendUint(dst, 5, uint64(member.Goal))
		dst = appendUint(dst, 6, uint64(member.Priority))
		dst = appendBool(dst, 7, member.Added)
		dst = appendUint(dst, 8, uint64(member.Healed))
	}
	return dst
}

func membershipLength(membership Membership) int {
	length := sizeUint(1, membership.ID) + sizeUint(4, membership.Operation)
	for i := range membership.Members {
		length += sizeBytes(2, memberLength(&membership.Members[i]))
	}
	for i := range membership.Outgoing {
		length += sizeBytes(3, memberLength(&membership.Outgoing[i]))
	}
	return length
}

func memberLength(member *Member) int {
	length := sizeUint(1, member.ReplicaID) + sizeUint(2, uint64(member.Kind)) +
		sizeFixed(3, member.Incarnation) + sizeUint(5, uint64(member.Goal)) + sizeUint(6, uint64(member.Priority)) +
		sizeUint(7, protowire.EncodeBool(member.Added)) + sizeUint(8, uint64(member.Healed))
	if member.Address != "" {
		length += sizeBytes(4, len(member.Address))
	}
	return length
}

// DecodeMembership decodes data, which must be exactly one Membership, and validates it. It aliases nothing of data.
// Errors are ErrBadRecord.
func DecodeMembership(data []byte) (Membership, error) {
	membership, err := decodeMembership(data)
	if err != nil {
		return Membership{}, fmt.Errorf("%w: membership: %w", ErrBadRecord, err)
	}
	return membership, nil
}

// decodeMembership returns errors that name the field, for its callers to put the record's name in front.
func decodeMembership(data []byte) (Membership, error) {
	var membership Membership
	reader := fieldReader{data: data, specs: membershipFields}
	for reader.next() {
		var err error
		switch reader.number {
		case 1:
			membership.ID = reader.value
		case 2:
			membership.Members, err = decodeMembers("members", membership.Members, reader.bytes)
		case 3:
			membership.Outgoing, err = decodeMembers("outgoing", membership.Outgoing, reader.bytes)
		case 4:
			membership.Operation = reader.value
		}
		if err != nil {
			return Membership{}, err
		}
	}
	if reader.err != nil {
		return Membership{}, reader.err
	}
	return membership, nil
}

// decodeMembers appends the member in data to a list of that name.
func decodeMembers(name string, members []Member, data []byte) ([]Member, error) {
	position := len(members)
	if position == MaxMembers {
		return nil, fmt.Errorf("%s: more than %d", name, MaxMembers)
	}
	member, err := decodeMember(data)
	if err != nil {
		return nil, fmt.Errorf("%s[%d].%w", name, position, err)
	}
	members = append(members, member)
	return members, checkMember(name, members, position)
}

func decodeMember(data []byte) (Member, error) {
	var member Member
	reader := fieldReader{data: data, specs: memberFields}
	for reader.next() {
		switch reader.number {
		case 1:
			member.ReplicaID = reader.value
		case 2:
			if reader.value > uint64(Witness) {
				return Member{}, fmt.Errorf("kind: %d, want %d to %d", reader.value, Voter, Witness)
			}
			member.Kind = MemberKind(reader.value)
		case 3:
			member.Incarnation = reader.value
		case 4:
			if len(reader.bytes) > MaxAddressLength {
				return Member{}, fmt.Errorf("address: %d bytes, want at most %d", len(reader.bytes), MaxAddressLength)
			}
			member.Address = string(reader.bytes)
		case 5:
			if reader.value >= uint64(goalCount) {
				return Member{}, fmt.Errorf("goal: %d, want 0 to %d", reader.value, goalCount-1)
			}
			member.Goal = MemberGoal(reader.value)
		case 6:
			if reader.value > 255 {
				return Member{}, fmt.Errorf("priority: %d, want 0 to 255", reader.value)
			}
			member.Priority = Priority(reader.value)
		case 7:
			member.Added = reader.value != 0
		case 8:
			if reader.value > uint64(Witness) {
				return Member{}, fmt.Errorf("healed: %d, want 0 to %d", reader.value, Witness)
			}
			member.Healed = MemberKind(reader.value)
		}
	}
	return member, reader.err
}

// Validate reports what would make another replica refuse the membership: more than MaxMembers members, members that are
// not in ascending order of ReplicaID or appear twice, an ID of 0, an unknown kind, an address that is too long or not
// UTF-8. The error is an ErrBadRecord. Whether the members make sense together is for the protocol to say.
func (m Membership) Validate() error {
	if err := validateMembers("members", m.Members); err != nil {
		return err
	}
	return validateMembers("outgoing", m.Outgoing)
}

func validateMembers(name string, members []Member) error {
	if len(members) > MaxMembers {
		return fmt.Errorf("%w: membership: %s: %d, want at most %d", ErrBadRecord, name, len(members), MaxMembers)
	}
	for i := range members {
		if err := checkMember(name, members, i); err != nil {
			return fmt.Errorf("%w: membership: %w", ErrBadRecord, err)
		}
	}
	return nil
}

func checkMember(name string, members []Member, i int) error {
	member := &members[i]
	switch {
	case member.ReplicaID == 0:
		return fmt.Errorf("%s[%d].replica_id: 0, want another number", name, i)
	case i > 0 && member.ReplicaID <= members[i-1].ReplicaID:
		return fmt.Errorf("%s[%d].replica_id: %d, want more than the previous %d", name, i,
			member.ReplicaID, members[i-1].ReplicaID)
	case member.Kind < Voter || member.Kind > Witness:
		return fmt.Errorf("%s[%d].kind: %d, want %d to %d", name, i, member.Kind, Voter, Witness)
	case member.Goal >= goalCount:
		return fmt.Errorf("%s[%d].goal: %d, want 0 to %d", name, i, member.Goal, goalCount-1)
	case member.Healed > Witness:
		return fmt.Errorf("%s[%d].healed: %d, want 0 to %d", name, i, member.Healed, Witness)
	case len(member.Address) > MaxAddressLength:
		return fmt.Errorf("%s[%d].address: %d bytes, want at most %d", name, i, len(member.Address), MaxAddressLength)
	case !utf8.ValidString(member.Address):
		return fmt.Errorf("%s[%d].address: %q, want UTF-8", name, i, member.Address)
	}
	return nil
}
