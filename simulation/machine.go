package simulation

import (
	"encoding/binary"
	"errors"

	"github.com/flotilla-raft/flotilla/rsm"
)

// keyCount is how many keys a shard's machine has.
const keyCount = 8

// commandHead is the length of a command in front of its padding: operation, key.
const commandHead = 9

// machine is the state machine that the simulated clients use: a few registers, each with a version, and a hash over all that was
// ever applied, so that one number tells whether two replicas went the same way.
type machine struct {
	world   *World
	host    *host
	life    uint32
	shard   *shard
	index   uint64 // of the last command
	state   uint64 // hash of the history
	values  [keyCount]register
	ordinal uint64
}

type register struct {
	version   uint64
	operation uint64
}

// lookup is the answer to a read.
type lookup struct {
	index, state uint64
	register     register
}

var errQuery = errors.New("simulation: unknown query")

func newMachine(h *host, s *shard) *machine {
	return &machine{world: h.world, host: h, life: h.life, shard: s}
}

func encodeCommand(operation uint64, key uint8, padding int) []byte {
	command := make([]byte, commandHead, commandHead+padding)
	binary.LittleEndian.PutUint64(command, operation)
	command[8] = key
	for i := range padding {
		command = append(command, byte(operation)+byte(i))
	}
	return command
}

// Update implements rsm.StateMachine.
func (m *machine) Update(entries []rsm.Entry) error {
	for i := range entries {
		e := &entries[i]
		operation := binary.LittleEndian.Uint64(e.Command)
		r := &m.values[e.Command[8]%keyCount]
		r.version++
		r.operation = operation
		m.state = mix(m.state ^ mix(e.Index) ^ operation<<1)
		m.ordinal++
		m.world.applied(m, e.Index, e.Command, operation)
		m.index = e.Index
		e.Result = rsm.Result{Value: e.Index, Data: binary.LittleEndian.AppendUint64(nil, r.version)}
	}
	return nil
}

// Lookup implements rsm.StateMachine; the query is a key.
func (m *machine) Lookup(query any) (any, error) {
	key, ok := query.(uint8)
	if !ok {
		return nil, errQuery
	}
	return lookup{index: m.index, state: m.state, register: m.values[key%keyCount]}, nil
}

// Close implements rsm.StateMachine.
func (m *machine) Close() error { return nil }
