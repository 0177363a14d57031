package benchmark

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/rsm"
)

func TestCommandsSayWhoSentThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		buffer := make([]byte, rapid.IntRange(MinPayload, 300).Draw(t, "payload"))
		client := rapid.Uint32Range(0, maxClients-1).Draw(t, "client")
		sequence := rapid.Uint64Range(0, maxSequence).Draw(t, "sequence")
		key := shardKey(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 1000).Draw(t, "shard"))
		writeCommand(buffer, key, client, sequence)
		gotClient, gotSequence, ok := readCommand(buffer, key)
		if gotClient != client || gotSequence != sequence || !ok {
			t.Fatalf("read client %d, sequence %d, %v", gotClient, gotSequence, ok)
		}
		if _, _, ok := readCommand(buffer, key+1); ok {
			t.Fatal("a command of another shard passed")
		}
		at := rapid.IntRange(0, min(len(buffer), 8+verifiedBytes)-1).Draw(t, "damaged byte")
		damaged := bytes.Clone(buffer)
		damaged[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "damaged bit")
		if _, _, ok := readCommand(damaged, key); ok {
			t.Fatalf("a flipped bit in byte %d passed", at)
		}
		at = rapid.IntRange(0, len(buffer)-1).Draw(t, "byte")
		damaged = bytes.Clone(buffer)
		damaged[at]++
		if chain(1, 2, damaged) == chain(1, 2, buffer) || chain(1, 3, buffer) == chain(1, 2, buffer) {
			t.Fatalf("the hash does not cover byte %d or the index", at)
		}
	})
}

func TestShortCommandIsRefused(t *testing.T) {
	if _, _, ok := readCommand(make([]byte, MinPayload-1), 0); ok {
		t.Fatal("a command without room for its name passed")
	}
}

// model is the naive account of what a machine has seen: a set.
type model struct {
	applied map[uint32]map[uint64]int
	next    map[uint32]uint64
}

func (m *model) apply(client uint32, sequence uint64) {
	if m.applied[client] == nil {
		m.applied[client] = make(map[uint64]int)
	}
	m.applied[client][sequence]++
	m.next[client] = max(m.next[client], sequence+1)
}

func (m *model) missing(client uint32, limit uint64) []uint64 {
	var absent []uint64
	for sequence := uint64(0); sequence < max(limit, m.next[client]); sequence++ {
		if m.applied[client][sequence] == 0 {
			absent = append(absent, sequence)
		}
	}
	return absent
}

func TestMachineAgreesWithASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const clients = 3
		machine := newMachine(1, 0, clients)
		m := &model{applied: make(map[uint32]map[uint64]int), next: make(map[uint32]uint64)}
		command := make([]byte, MinPayload)
		doubled, index := uint64(0), uint64(0)
		machine.Begin()
		for range rapid.IntRange(0, 60).Draw(t, "commands") {
			client := rapid.Uint32Range(0, clients-1).Draw(t, "client")
			sequence := m.next[client]
			if rapid.IntRange(0, 3).Draw(t, "unusual") == 0 {
				sequence = rapid.Uint64Range(0, m.next[client]+4).Draw(t, "sequence")
			}
			if m.applied[client][sequence] > 0 {
				doubled++
			}
			m.apply(client, sequence)
			writeCommand(command, machine.key, client, sequence)
			index += rapid.Uint64Range(1, 3).Draw(t, "step")
			machine.Apply(index, command)
		}
		machine.End()
		if state := machine.State(); state.Wrong != doubled || state.Applied != index {
			t.Fatalf("%d wrong and applied %d, want %d and %d: %v", state.Wrong, state.Applied, doubled, index, state.Complaints)
		}
		for client := range uint32(clients) {
			limit := m.next[client] + rapid.Uint64Range(0, 3).Draw(t, "beyond")
			intervals, next := machine.missing(client, limit)
			var got []uint64
			for _, gap := range intervals {
				for sequence := gap.first; sequence < gap.end; sequence++ {
					got = append(got, sequence)
				}
			}
			if want := m.missing(client, limit); !slices.Equal(got, want) || next != m.next[client] {
				t.Fatalf("client %d: missing %v below %d, want %v below %d", client, got, next, want, m.next[client])
			}
		}
	})
}

func TestMachineComplains(t *testing.T) {
	command := func(m *Machine, client uint32, sequence uint64) []byte {
		buffer := make([]byte, MinPayload)
		writeCommand(buffer, m.key, client, sequence)
		return buffer
	}
	for name, apply := range map[string]func(*Machine){
		"doubled": func(m *Machine) {
			m.Apply(1, command(m, 0, 0))
			m.Apply(2, command(m, 0, 0))
		},
		"damaged": func(m *Machine) { m.Apply(1, make([]byte, MinPayload)) },
		"foreign": func(m *Machine) { m.Apply(1, command(newMachine(1, 1, 1), 0, 0)) },
		"unknown": func(m *Machine) { m.Apply(1, command(m, 5, 0)) },
		"out of log order": func(m *Machine) {
			m.Apply(2, command(m, 0, 0))
			m.Apply(2, command(m, 0, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(1, 0, 2)
			m.Begin()
			apply(m)
			m.End()
			if state := m.State(); state.Wrong != 1 || len(state.Complaints) != 1 {
				t.Fatalf("%d wrong, complaints %q; want one", state.Wrong, state.Complaints)
			}
		})
	}
}

func TestComplaintsAreBounded(t *testing.T) {
	m := newMachine(1, 0, 1)
	m.Begin()
	for i := range uint64(100) {
		m.Apply(i+1, make([]byte, MinPayload))
	}
	m.End()
	if state := m.State(); state.Wrong != 100 || len(state.Complaints) != maxComplaints {
		t.Fatalf("%d wrong, %d complaints", state.Wrong, len(state.Complaints))
	}
}

func TestStateMachineAdapter(t *testing.T) {
	m := newMachine(7, 3, 2)
	adapter := m.StateMachine()
	entries := make([]rsm.Entry, 2)
	for i := range entries {
		buffer := make([]byte, 20)
		writeCommand(buffer, m.key, 1, uint64(i))
		entries[i] = rsm.Entry{Index: uint64(i + 4), Command: buffer}
	}
	if err := adapter.Update(entries); err != nil {
		t.Fatal(err)
	}
	query := &Query{Client: 1}
	if answer, err := adapter.Lookup(query); err != nil || answer != query || query.Next != 2 {
		t.Fatalf("answer %v, %v", query, err)
	}
	if _, err := adapter.Lookup("what"); err == nil {
		t.Fatal("a query of another type was answered")
	}
	if _, err := adapter.Lookup(&Query{Client: 2}); err == nil {
		t.Fatal("a query for a client that does not exist was answered")
	}
	if state := m.State(); state.Applied != 5 || entries[1].Result.Value != 5 || state.Wrong != 0 {
		t.Fatalf("state %+v, result %d", state, entries[1].Result.Value)
	}
	if err := adapter.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAllocationsOfACommand(t *testing.T) {
	if invariant.Enabled {
		t.Skip("assertions allocate")
	}
	m := newMachine(1, 0, 1)
	command := make([]byte, MinPayload)
	sequence := uint64(0)
	got := testing.AllocsPerRun(1000, func() {
		writeCommand(command, m.key, 0, sequence)
		m.Begin()
		m.Apply(sequence+1, command)
		m.End()
		sequence++
	})
	if got != 0 {
		t.Fatalf("%g allocations per command", got)
	}
}

func BenchmarkApply(b *testing.B) {
	m := newMachine(1, 0, 1)
	command := make([]byte, MinPayload)
	m.Begin()
	defer m.End()
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		writeCommand(command, m.key, 0, i)
		m.Apply(i+1, command)
	}
}
