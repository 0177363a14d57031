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
	shard   *shard
	index   uint64 // of the last command
	applied uint64 // what a machine on disk says that it has applied: index, or an entry behind it that it was not shown
	state   uint64 // hash of the history
	values  [keyCount]register
	subject rsm.StateMachine // the user's, nil if there is none
	handed  []rsm.Entry      // to subject
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

func newMachine(h *host, s *shard) (*machine, error) {
	m := &machine{world: h.world, host: h, shard: s}
	if factory := h.world.options.Machine; factory != nil {
		subject, err := factory(s.id, uint64(h.index+1))
		if err != nil {
			return nil, err
		}
		m.subject = subject
	}
	return m, nil
}

// newCommand puts the head in front of what the user's machine is to get, or of some bytes.
func (c *clients) newCommand(random *random, operation uint64, key uint8) []byte {
	command := make([]byte, commandHead, commandHead+c.world.plan.commandBytes)
	binary.LittleEndian.PutUint64(command, operation)
	command[8] = key
	if draw := c.world.options.Command; draw != nil {
		return append(command, draw(random.next)...)
	}
	for i := range random.below(c.world.plan.commandBytes + 1) {
		command = append(command, byte(operation)+byte(i))
	}
	return command
}

// Update implements rsm.StateMachine.
func (m *machine) Update(entries []rsm.Entry) error {
	if err := m.failure(); err != nil {
		return err
	}
	if m.subject != nil {
		if err := m.updateSubject(entries); err != nil {
			return err
		}
	}
	for i := range entries {
		e := &entries[i]
		operation := binary.LittleEndian.Uint64(e.Command)
		r := &m.values[e.Command[8]%keyCount]
		r.version++
		r.operation = operation
		m.state = mix(m.state ^ mix(e.Index) ^ operation<<1)
		if m.subject != nil {
			result := m.handed[i].Result
			m.state = mix(m.state ^ hashBytes(result.Value, result.Data))
		}
		m.world.applied(m, e.Index, e.Command, operation)
		m.index, m.applied = e.Index, e.Index
		e.Result = rsm.Result{Value: e.Index, Data: binary.LittleEndian.AppendUint64(nil, r.version)}
	}
	if hasher, ok := m.subject.(StateHasher); ok {
		m.world.checkStateHash(m, hasher.StateHash())
	}
	return nil
}

// updateSubject gives the user's machine its part of every command.
func (m *machine) updateSubject(entries []rsm.Entry) error {
	m.handed = m.handed[:0]
	for i := range entries {
		m.handed = append(m.handed, rsm.Entry{Index: entries[i].Index, Command: entries[i].Command[commandHead:]})
	}
	return m.subject.Update(m.handed)
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
func (m *machine) Close() error {
	if m.subject != nil {
		return m.subject.Close()
	}
	return nil
}
