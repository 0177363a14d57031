package raftpb

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrBadRecord says that bytes are no record of the kind asked for. The error names the record, the field, its value and
// what is accepted.
var ErrBadRecord = errors.New("raftpb: bad record")

var (
	hardStateFields = []fieldSpec{
		1: {"term", protowire.VarintType},
		2: {"vote", protowire.VarintType},
		3: {"commit", protowire.VarintType},
	}
	configRecordFields = []fieldSpec{
		1: {"index", protowire.VarintType},
		2: {"membership", protowire.BytesType},
	}
	snapshotMetaFields = []fieldSpec{
		1: {"shard_id", protowire.VarintType},
		2: {"replica_id", protowire.VarintType},
		3: {"index", protowire.VarintType},
		4: {"term", protowire.VarintType},
		5: {"config", protowire.BytesType},
		6: {"kind", protowire.VarintType},
		7: {"state_version", protowire.VarintType},
	}
	bootstrapFields = []fieldSpec{
		1: {"incarnation", protowire.Fixed64Type},
		2: {"join", protowire.VarintType},
		3: {"initial", protowire.BytesType},
		4: {"complete", protowire.VarintType},
	}
)

// AppendHardState appends the encoding of a HardState; that of the zero value is empty.
func AppendHardState(dst []byte, state HardState) []byte {
	dst = appendUint(dst, 1, state.Term)
	dst = appendUint(dst, 2, state.Vote)
	return appendUint(dst, 3, state.Commit)
}

// DecodeHardState decodes data, which must be exactly one HardState. Errors are ErrBadRecord.
func DecodeHardState(data []byte) (HardState, error) {
	var state HardState
	reader := fieldReader{data: data, specs: hardStateFields}
	for reader.next() {
		switch reader.number {
		case 1:
			state.Term = reader.value
		case 2:
			state.Vote = reader.value
		case 3:
			state.Commit = reader.value
		}
	}
	if reader.err != nil {
		return HardState{}, fmt.Errorf("%w: hard state: %w", ErrBadRecord, reader.err)
	}
	return state, nil
}

// AppendConfigRecord appends the encoding of a ConfigRecord.
func AppendConfigRecord(dst []byte, record ConfigRecord) []byte {
	dst = appendUint(dst, 1, record.Index)
	dst = appendLength(dst, 2, membershipLength(record.Membership))
	return AppendMembership(dst, record.Membership)
}

// DecodeConfigRecord decodes data, which must be exactly one ConfigRecord. It aliases nothing of data. Errors are
// ErrBadRecord.
func DecodeConfigRecord(data []byte) (ConfigRecord, error) {
	record, err := decodeConfigRecord(data)
	if err != nil {
		return ConfigRecord{}, fmt.Errorf("%w: config record: %w", ErrBadRecord, err)
	}
	return record, nil
}

// decodeConfigRecord returns errors that name the field, for its callers to put the record's name in front.
func decodeConfigRecord(data []byte) (ConfigRecord, error) {
	var record ConfigRecord
	var err error
	reader := fieldReader{data: data, specs: configRecordFields}
	for reader.next() {
		switch reader.number {
		case 1:
			record.Index = reader.value
		case 2:
			if record.Membership, err = decodeMembership(reader.bytes); err != nil {
				return ConfigRecord{}, fmt.Errorf("membership.%w", err)
			}
		}
	}
	return record, reader.err
}

// AppendSnapshotMeta appends the encoding of a SnapshotMeta.
func AppendSnapshotMeta(dst []byte, meta SnapshotMeta) []byte {
	dst = appendUint(dst, 1, meta.ShardID)
	dst = appendUint(dst, 2, meta.ReplicaID)
	dst = appendUint(dst, 3, meta.Index)
	dst = appendUint(dst, 4, meta.Term)
	config := AppendConfigRecord(nil, meta.Config)
	dst = appendLength(dst, 5, len(config))
	dst = append(dst, config...)
	dst = appendUint(dst, 6, uint64(meta.Kind))
	return appendUint(dst, 7, meta.StateVersion)
}

// DecodeSnapshotMeta decodes data, which must be exactly one SnapshotMeta. It aliases nothing of data. Errors are ErrBadRecord.
func DecodeSnapshotMeta(data []byte) (SnapshotMeta, error) {
	var meta SnapshotMeta
	var err error
	reader := fieldReader{data: data, specs: snapshotMetaFields}
	for reader.next() {
		switch reader.number {
		case 1:
			meta.ShardID = reader.value
		case 2:
			meta.ReplicaID = reader.value
		case 3:
			meta.Index = reader.value
		case 4:
			meta.Term = reader.value
		case 5:
			if meta.Config, err = decodeConfigRecord(reader.bytes); err != nil {
				return SnapshotMeta{}, fmt.Errorf("%w: snapshot: config.%w", ErrBadRecord, err)
			}
		case 6:
			if reader.value > uint64(SnapshotWitness) {
				return SnapshotMeta{}, fmt.Errorf("%w: snapshot: kind: %d, want 0 to %d", ErrBadRecord, reader.value, SnapshotWitness)
			}
			meta.Kind = SnapshotKind(reader.value)
		case 7:
			meta.StateVersion = reader.value
		}
	}
	if reader.err != nil {
		return SnapshotMeta{}, fmt.Errorf("%w: snapshot: %w", ErrBadRecord, reader.err)
	}
	return meta, nil
}

// AppendBootstrap appends the encoding of a Bootstrap.
func AppendBootstrap(dst []byte, bootstrap Bootstrap) []byte {
	dst = appendFixed(dst, 1, bootstrap.Incarnation)
	dst = appendBool(dst, 2, bootstrap.Join)
	dst = appendLength(dst, 3, membershipLength(bootstrap.Initial))
	dst = AppendMembership(dst, bootstrap.Initial)
	return appendBool(dst, 4, bootstrap.Complete)
}

// DecodeBootstrap decodes data, which must be exactly one Bootstrap. It aliases nothing of data. Errors are ErrBadRecord.
func DecodeBootstrap(data []byte) (Bootstrap, error) {
	var bootstrap Bootstrap
	var err error
	reader := fieldReader{data: data, specs: bootstrapFields}
	for reader.next() {
		switch reader.number {
		case 1:
			bootstrap.Incarnation = reader.value
		case 2:
			bootstrap.Join = protowire.DecodeBool(reader.value)
		case 3:
			if bootstrap.Initial, err = decodeMembership(reader.bytes); err != nil {
				return Bootstrap{}, fmt.Errorf("%w: bootstrap: initial.%w", ErrBadRecord, err)
			}
		case 4:
			bootstrap.Complete = protowire.DecodeBool(reader.value)
		}
	}
	if reader.err != nil {
		return Bootstrap{}, fmt.Errorf("%w: bootstrap: %w", ErrBadRecord, reader.err)
	}
	return bootstrap, nil
}
