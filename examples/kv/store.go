package main

import (
	"encoding/binary"
	"errors"

	"github.com/flotilla-raft/flotilla/rsm"
)

// store is the state machine: a map, changed by commands in the order of the log. Every replica applies the same commands and so holds
// the same map. It lives in memory and is rebuilt from the log at a start.
type store struct{ values map[string]string }

func newStore() *store { return &store{values: make(map[string]string)} }

// putCommand and deleteCommand make the commands: an operation, the length of the key, the key, and for a put the value.
const (
	opPut byte = iota + 1
	opDelete
)

func putCommand(key string, value []byte) []byte { return append(encode(opPut, key), value...) }

func deleteCommand(key string) []byte { return encode(opDelete, key) }

func encode(op byte, key string) []byte {
	return append(binary.AppendUvarint([]byte{op}, uint64(len(key))), key...)
}

var errBadCommand = errors.New("kv: not a command of this program")

// Update applies commands. Whatever it does has to depend on state and commands alone: no clock, no random numbers. It never fails for a
// command that a client could send, for an error takes the replica out of service, on every server.
func (s *store) Update(entries []rsm.Entry) error {
	for i := range entries {
		command := entries[i].Command
		if len(command) == 0 {
			return errBadCommand
		}
		length, n := binary.Uvarint(command[1:])
		rest := command[1+max(n, 0):]
		if n <= 0 || length > uint64(len(rest)) {
			return errBadCommand
		}
		key, value := string(rest[:length]), rest[length:]
		if _, present := s.values[key]; present {
			entries[i].Result.Value = 1 // tells the client whether the key was there before
		}
		switch command[0] {
		case opPut:
			s.values[key] = string(value)
		case opDelete:
			delete(s.values, key)
		default:
			return errBadCommand
		}
	}
	return nil
}

// Lookup answers the query for one key: its value, or nil.
func (s *store) Lookup(query any) (any, error) {
	if value, present := s.values[query.(string)]; present {
		return value, nil
	}
	return nil, nil
}

// Close has nothing to release.
func (s *store) Close() error { return nil }
