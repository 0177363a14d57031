package benchmark

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"io"
)

// counts returns how many batches the machine was given and how many commands were in them.
func (m *Machine) counts() (batches, commands uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.batches, m.Commands
}

// machineImage is a Machine as it is written into a snapshot.
type machineImage struct {
	Next  []uint64
	Gaps  map[uint32][][2]uint64
	State MachineState
}

// Save writes what the machine has seen, so that Recover makes another one equal. It may be called at any time, and holds the machine
// only while it copies.
func (m *Machine) Save(to io.Writer) error {
	m.mu.Lock()
	image := machineImage{Next: append([]uint64(nil), m.next...), Gaps: make(map[uint32][][2]uint64), State: m.MachineState}
	image.State.Complaints = append([]string(nil), m.Complaints...)
	for client, missing := range m.gaps {
		for _, gap := range missing {
			image.Gaps[client] = append(image.Gaps[client], [2]uint64{gap.first, gap.end})
		}
	}
	m.mu.Unlock()
	var buffer bytes.Buffer // gob writes in small pieces, which some engines would pass on as they are
	if err := gob.NewEncoder(&buffer).Encode(image); err != nil {
		return fmt.Errorf("benchmark: snapshot: %w", err)
	}
	if _, err := to.Write(buffer.Bytes()); err != nil {
		return fmt.Errorf("benchmark: snapshot: %w", err)
	}
	return nil
}

// Recover makes the machine what another was when it was saved, and reads all there is. Nothing else uses the machine meanwhile.
func (m *Machine) Recover(from io.Reader) error {
	text, err := io.ReadAll(from)
	if err != nil {
		return fmt.Errorf("benchmark: snapshot: %w", err)
	}
	var image machineImage
	if err := gob.NewDecoder(bytes.NewReader(text)).Decode(&image); err != nil {
		return fmt.Errorf("benchmark: snapshot: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(image.Next) != len(m.next) {
		return fmt.Errorf("benchmark: snapshot of a machine with %d clients; this one has %d", len(image.Next), len(m.next))
	}
	m.next, m.MachineState, m.gaps = image.Next, image.State, make(map[uint32]gaps)
	for client, missing := range image.Gaps {
		for _, gap := range missing {
			m.gaps[client] = append(m.gaps[client], interval{gap[0], gap[1]})
		}
	}
	return nil
}
