package rsmtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

const term = 1

// replica is a state machine with what stands between it and the engine.
type replica struct {
	*rsm.Manager
	s       *suite
	machine rsm.StateMachine
	closed  bool
}

// open makes and opens a machine; it is closed at the end, if it is not before.
func (s *suite) open(place Place) *replica {
	s.Helper()
	machine := s.make(place)
	manager, err := rsm.OpenManager(context.Background(), machine)
	if err != nil {
		s.Fatalf("Open: %v", err)
	}
	m := &replica{Manager: manager, s: s, machine: machine}
	s.Cleanup(func() {
		if !m.closed {
			_ = m.Close() // the case cares, or it does not
		}
	})
	return m
}

func (m *replica) close() {
	m.s.Helper()
	m.closed = true
	if err := m.Close(); err != nil {
		m.s.Fatalf("Close: %v", err)
	}
}

// apply shows commands to the machine in one Update.
func (m *replica) apply(commands [][]byte) []rsm.Result {
	m.s.Helper()
	return m.run(plain(m.Applied()+1, commands))
}

// run applies a batch.
func (m *replica) run(batch raftpb.Batch) (results []rsm.Result) {
	m.s.Helper()
	var turn rsm.Turn
	if err := m.Add(&turn, batch); err != nil {
		m.s.Fatalf("batch: %v", err)
	}
	if err := m.Apply(&turn); err != nil {
		m.s.Fatalf("Update of [%d, %d]: %v", batch.First(), batch.Last(), err)
	}
	for _, entry := range turn.Entries() {
		results = append(results, rsm.Result{Value: entry.Result.Value, Data: bytes.Clone(entry.Result.Data)})
	}
	return results
}

// applyEach shows commands in an Update each.
func (m *replica) applyEach(commands [][]byte) (results []rsm.Result) {
	m.s.Helper()
	for i := range commands {
		results = append(results, m.apply(commands[i:i+1])...)
	}
	return results
}

// applyRuns shows commands in Updates of different lengths.
func (m *replica) applyRuns(commands [][]byte) (results []rsm.Result) {
	m.s.Helper()
	for len(commands) > 0 {
		n := 1 + m.s.random.IntN(min(len(commands), 12))
		results = append(results, m.apply(commands[:n])...)
		commands = commands[n:]
	}
	return results
}

func plain(first uint64, commands [][]byte) raftpb.Batch {
	var builder raftpb.Builder
	builder.Reset(nil)
	for _, command := range commands {
		builder.Add(command)
	}
	batch := builder.Seal(1, raftpb.KindCommands, raftpb.Origin{Replica: 1, Session: 1, Sequence: 1}, 0)
	batch.Stamp(term, first)
	return batch
}

// sum returns the checksum of a machine that has one.
func (m *replica) sum() uint64 {
	m.s.Helper()
	sum, err := m.machine.(rsm.Checksummer).Checksum()
	if err != nil {
		m.s.Fatalf("Checksum: %v", err)
	}
	return sum
}

func (m *replica) sync() {
	m.s.Helper()
	if err := m.Sync(); err != nil {
		m.s.Fatalf("Sync: %v", err)
	}
}

// image prepares an image.
func (m *replica) image() *rsm.Image {
	m.s.Helper()
	image, err := m.Prepare(context.Background())
	if err != nil {
		m.s.Fatalf("Prepare: %v", err)
	}
	return image
}

// save writes an image as a snapshot file, and closes it.
func save(image *rsm.Image) (file []byte, err error) {
	defer func() { err = errors.Join(err, image.Close()) }()
	meta := image.Meta()
	meta.ShardID, meta.ReplicaID = 1, 1
	var out bytes.Buffer
	writer, err := snapshot.NewWriter(&out, meta, snapshot.WriterOptions{})
	if err != nil {
		return nil, err
	}
	if err := image.Save(context.Background(), writer); err != nil {
		return nil, err
	}
	_, err = writer.Close()
	return out.Bytes(), err
}

// snapshot takes one.
func (m *replica) snapshot() []byte {
	m.s.Helper()
	file, err := save(m.image())
	if err != nil {
		m.s.Fatalf("Save: %v", err)
	}
	return file
}

func (m *replica) recover(file io.Reader) error {
	reader, err := snapshot.NewReader(file)
	if err != nil {
		return err
	}
	return m.Recover(context.Background(), reader)
}

func (m *replica) mustRecover(file []byte) {
	m.s.Helper()
	if err := m.recover(bytes.NewReader(file)); err != nil {
		m.s.Fatalf("Recover: %v", err)
	}
}

// section is a part of a snapshot file.
type section struct {
	kind snapshot.Kind
	name string
	data []byte
}

// take reads a snapshot file apart.
func (s *suite) take(file []byte) (sections []section) {
	s.Helper()
	reader, err := snapshot.NewReader(bytes.NewReader(file))
	for err == nil {
		var part snapshot.Section
		if part, err = reader.Next(); err != nil {
			break
		}
		var data []byte
		data, err = io.ReadAll(part)
		sections = append(sections, section{part.Kind, part.Name, data})
	}
	if !errors.Is(err, io.EOF) {
		s.Fatalf("snapshot: %v", err)
	}
	return sections
}

// put makes a snapshot file of the sections, with the metadata of another.
func (s *suite) put(like []byte, sections []section) []byte {
	s.Helper()
	reader, err := snapshot.NewReader(bytes.NewReader(like))
	if err != nil {
		s.Fatalf("snapshot: %v", err)
	}
	var out bytes.Buffer
	writer, err := snapshot.NewWriter(&out, reader.Meta(), snapshot.WriterOptions{})
	for i := 0; i < len(sections) && err == nil; i++ {
		var to io.Writer
		switch sections[i].kind {
		case snapshot.KindSessions:
			to, err = writer.Sessions()
		case snapshot.KindState:
			to, err = writer.State()
		default:
			to, err = writer.File(sections[i].name)
		}
		if err == nil {
			_, err = to.Write(sections[i].data)
		}
	}
	if err == nil {
		_, err = writer.Close()
	}
	if err != nil {
		s.Fatalf("snapshot: %v", err)
	}
	return out.Bytes()
}

func dump(value any) string { return fmt.Sprintf("%+v", value) }
