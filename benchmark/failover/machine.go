package failover

import (
	"encoding/binary"
	"hash/crc32"
	"sync"

	"github.com/flotilla-raft/flotilla/rsm"
)

// A command begins with the number of its client, unique over all hosts and their lives, and a sequence that only ascends.
const commandHeader = 16

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Summary is what two replicas of a shard have to agree on.
type Summary struct {
	Index    uint64 // of the last command
	Commands uint64
	Checksum uint32 // over all commands in order
	Doubled  uint64 // commands whose sequence was not above the one before of their client
}

// machine is the state machine of every replica.
type machine struct {
	mu      sync.Mutex
	summary Summary
	clients map[uint64]clientRecord
}

type clientRecord struct{ last, applied uint64 }

func newMachine() *machine { return &machine{clients: make(map[uint64]clientRecord)} }

// Update implements rsm.StateMachine.
func (m *machine) Update(entries []rsm.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.summary
	for i := range entries {
		command := entries[i].Command
		s.Index = entries[i].Index
		s.Commands++
		s.Checksum = crc32.Update(s.Checksum, castagnoli, command)
		if len(command) < commandHeader {
			continue
		}
		client, sequence := binary.LittleEndian.Uint64(command), binary.LittleEndian.Uint64(command[8:])
		record := m.clients[client]
		if sequence <= record.last {
			s.Doubled++
		}
		m.clients[client] = clientRecord{last: max(record.last, sequence), applied: record.applied + 1}
	}
	return nil
}

// Lookup implements rsm.StateMachine.
func (m *machine) Lookup(any) (any, error) { return m.now(), nil }

// Close implements rsm.StateMachine.
func (m *machine) Close() error { return nil }

func (m *machine) now() Summary {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.summary
}

// applied returns how many commands of a client are in.
func (m *machine) applied(client uint64) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.clients[client].applied
}
