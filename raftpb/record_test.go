package raftpb

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func testMembership() Membership {
	return Membership{ID: 12, Members: []Member{
		{ReplicaID: 1, Kind: Voter, Incarnation: 0xfeedfacecafebeef, Address: "[::1]:7000"},
		{ReplicaID: 2, Kind: Learner, Address: "host-2:7000", Goal: GoalVoter, Priority: PriorityLast},
		{ReplicaID: 300, Kind: Witness, Incarnation: 5},
	}}
}

func TestRecordsRoundTrip(t *testing.T) {
	state := HardState{Term: 5, Vote: 2, Commit: 1 << 40}
	if got, err := DecodeHardState(AppendHardState(nil, state)); err != nil || got != state {
		t.Fatal(got, err)
	}
	if got, err := DecodeHardState(nil); err != nil || got != (HardState{}) {
		t.Fatal(got, err)
	}
	record := ConfigRecord{Index: 99, Membership: testMembership()}
	if got, err := DecodeConfigRecord(AppendConfigRecord(nil, record)); err != nil || !reflect.DeepEqual(got, record) {
		t.Fatal(got, err)
	}
	for _, bootstrap := range []Bootstrap{
		{},
		{Incarnation: 77, Join: true},
		{Incarnation: 77, Initial: testMembership(), Complete: true},
	} {
		if got, err := DecodeBootstrap(AppendBootstrap(nil, bootstrap)); err != nil || !reflect.DeepEqual(got, bootstrap) {
			t.Fatal(got, err)
		}
	}
}

// TestRecordsAliasNothing changes the decoded bytes afterwards.
func TestRecordsAliasNothing(t *testing.T) {
	data := EncodeMembership(testMembership())
	got, err := DecodeMembership(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if !reflect.DeepEqual(got, testMembership()) {
		t.Fatal("membership changed to", got)
	}
}

func TestMembershipRefuses(t *testing.T) {
	many := Membership{Members: make([]Member, MaxMembers+1)}
	for i := range many.Members {
		many.Members[i] = Member{ReplicaID: uint64(i + 1), Kind: Voter}
	}
	for _, test := range []struct {
		name       string
		membership Membership
		text       string
	}{
		{"too many", many, "members: "},
		{"no replica ID", Membership{Members: []Member{{Kind: Voter}}}, "members[0].replica_id: 0"},
		{"twice", Membership{Members: []Member{{ReplicaID: 3, Kind: Voter}, {ReplicaID: 3, Kind: Voter}}},
			"members[1].replica_id: 3, want more than the previous 3"},
		{"descending", Membership{Members: []Member{{ReplicaID: 3, Kind: Voter}, {ReplicaID: 2, Kind: Voter}}},
			"members[1].replica_id: 2, want more than the previous 3"},
		{"no kind", Membership{Members: []Member{{ReplicaID: 1}}}, "kind: 0, want 1 to 3"},
		{"unknown kind", Membership{Members: []Member{{ReplicaID: 1, Kind: 4}}}, "kind: 4, want 1 to 3"},
		{"long address", Membership{Members: []Member{
			{ReplicaID: 1, Kind: Voter, Address: strings.Repeat("a", MaxAddressLength+1)}}}, "address: 513 bytes, want at most 512"},
		{"address that is not UTF-8", Membership{Members: []Member{{ReplicaID: 1, Kind: Voter, Address: "\xff"}}},
			"members[0].address: \"\\xff\", want UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for what, err := range map[string]error{
				"Validate":           test.membership.Validate(),
				"DecodeMembership":   second(DecodeMembership(EncodeMembership(test.membership))),
				"DecodeConfigRecord": second(DecodeConfigRecord(AppendConfigRecord(nil, ConfigRecord{Membership: test.membership}))),
				"DecodeBootstrap":    second(DecodeBootstrap(AppendBootstrap(nil, Bootstrap{Initial: test.membership}))),
			} {
				if !errors.Is(err, ErrBadRecord) || !strings.Contains(err.Error(), test.text) {
					t.Errorf("%s: error %v, want %q", what, err, test.text)
				}
			}
		})
	}
	if err := testMembership().Validate(); err != nil {
		t.Fatal(err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestRecordsRefuseMalformedBytes(t *testing.T) {
	decoders := map[string]func([]byte) error{
		"hard state":    func(data []byte) error { return second(DecodeHardState(data)) },
		"config record": func(data []byte) error { return second(DecodeConfigRecord(data)) },
		"bootstrap":     func(data []byte) error { return second(DecodeBootstrap(data)) },
		"membership":    func(data []byte) error { return second(DecodeMembership(data)) },
	}
	first := map[string]string{"hard state": "term", "config record": "index", "bootstrap": "incarnation", "membership": "id"}
	for name, decode := range decoders {
		wrongWire := protowire.AppendTag(nil, 1, protowire.Fixed32Type)
		for what, test := range map[string]struct {
			data []byte
			text string
		}{
			"wire type":        {append(wrongWire, 0, 0, 0, 0), first[name] + ": wire type 5, want"},
			"cut-off tag":      {[]byte{0x80}, "field tag is cut off"},
			"field number 0":   {[]byte{0x00, 0x00}, "field 0: number is out of range"},
			"unknown, cut off": {protowire.AppendTag(nil, 50, protowire.BytesType), "field 50: unknown field"},
		} {
			err := decode(test.data)
			if !errors.Is(err, ErrBadRecord) || !strings.Contains(err.Error(), name+": ") || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%s, %s: error %v, want %q", name, what, err, test.text)
			}
		}
		unknown := protowire.AppendString(protowire.AppendTag(nil, 50, protowire.BytesType), "from a later version")
		if err := decode(unknown); err != nil {
			t.Errorf("%s: unknown field: %v", name, err)
		}
	}
}
