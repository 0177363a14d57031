package benchmark

import (
	"fmt"
	"sync"
)

// maxComplaints bounds what a machine remembers of commands that should not be there; the rest is only counted.
const maxComplaints = 8

// Machine is the state machine behind every engine. It costs about 20 ns for a command of 16 bytes and keeps what the end
// check needs: the last applied index, a hash over index and bytes of every command, and which commands of which client are in.
//
// A client numbers its commands from 0 on and has one in flight, so what a machine sees of it is a run of consecutive numbers
// unless an outcome was unknown. So it holds one number per client, the next expected one, and a set of gaps that is nearly always
// empty, instead of a set of everything.
type Machine struct {
	mu   sync.Mutex // taken once per batch, by Begin; see State and Lookup for the other users
	key  uint64
	next []uint64        // by client: one above the highest sequence applied
	gaps map[uint32]gaps // by client: what is missing below next

	batches uint64 // Begin was called
	MachineState
}

// MachineState is what the replicas of a shard must agree on, and what none of them may have seen.
type MachineState struct {
	// Applied is the log index of the last command, Commands how many there were, and Hash covers the index and bytes of each.
	Applied, Commands, Hash uint64
	// Wrong counts the commands that were applied twice, damaged, sent by nobody, or out of log order.
	Wrong uint64
	// Complaints describe the first few of them.
	Complaints []string
}

// Query asks a machine up to where the commands of one client are in. The machine fills in the answer.
type Query struct {
	// Client is the client's number within its shard.
	Client uint32
	// Next is one above the highest sequence of the client that was applied.
	Next uint64
}

// newMachine returns the machine of a replica whose shard has the given number of clients.
func newMachine(seed uint64, shard, clients int) *Machine {
	return &Machine{key: shardKey(seed, shard), next: make([]uint64, clients), gaps: make(map[uint32]gaps)}
}

// Begin locks the machine for a batch of commands; End follows the last one.
func (m *Machine) Begin() {
	m.mu.Lock()
	m.batches++
}

// End unlocks the machine.
func (m *Machine) End() { m.mu.Unlock() }

// Apply takes the command at a log index. It is called between Begin and End, in log order, and keeps nothing of the command.
func (m *Machine) Apply(index uint64, command []byte) {
	if index <= m.Applied {
		m.complain("index %d was applied after index %d", index, m.Applied)
	}
	m.Applied = index
	m.Commands++
	m.Hash = chain(m.Hash, index, command)
	client, sequence, ok := readCommand(command, m.key)
	switch {
	case !ok:
		m.complain("the command at index %d is damaged or belongs to another shard", index)
	case int(client) >= len(m.next):
		m.complain("the command at index %d names client %d; there are %d", index, client, len(m.next))
	case sequence == m.next[client]:
		m.next[client]++
	default:
		m.outOfOrder(index, client, sequence)
	}
}

// outOfOrder takes a command that is not the next of its client: one after a gap, one that fills a gap, or a doubled one.
func (m *Machine) outOfOrder(index uint64, client uint32, sequence uint64) {
	missing := m.gaps[client]
	if sequence > m.next[client] {
		missing.add(m.next[client], sequence)
		m.next[client] = sequence + 1
	} else if !missing.remove(sequence) {
		m.complain("command %d of client %d came a second time at index %d", sequence, client, index)
	}
	m.gaps[client] = missing
}

func (m *Machine) complain(format string, arguments ...any) {
	m.Wrong++
	if len(m.Complaints) < maxComplaints {
		m.Complaints = append(m.Complaints, fmt.Sprintf(format, arguments...))
	}
}

// Lookup answers a query. It may be called at any time.
func (m *Machine) Lookup(query *Query) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if int(query.Client) >= len(m.next) {
		return fmt.Errorf("benchmark: query for client %d; there are %d", query.Client, len(m.next))
	}
	query.Next = m.next[query.Client]
	return nil
}

// State returns what the machine has seen so far. It may be called at any time.
func (m *Machine) State() MachineState {
	m.mu.Lock()
	defer m.mu.Unlock()
	state := m.MachineState
	state.Complaints = append([]string(nil), m.Complaints...)
	return state
}

// missing returns the sequences below limit, of one client, that were not applied, and the next expected one.
func (m *Machine) missing(client uint32, limit uint64) (absent []interval, next uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next = m.next[client]
	absent = append(absent, m.gaps[client]...)
	if next < limit {
		absent = append(absent, interval{next, limit})
	}
	return absent, next
}
