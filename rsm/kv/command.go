package kv

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/rsm/internal/items"
)

// MaxKeyBytes is the length of the longest key: 64 KiB. Keys are not empty.
const MaxKeyBytes = items.MaxKey

// ErrBadCommand says that bytes are no command.
var ErrBadCommand = errors.New("kv: not a command")

// Op is what a command does.
type Op byte

// The numbers are in logs: they never change.
const (
	// OpPut sets Key to Value.
	OpPut Op = 1
	// OpDelete removes Key.
	OpDelete Op = 2
	// OpPutIfAbsent sets Key to Value unless it is there.
	OpPutIfAbsent Op = 3
	// OpCompareAndSet sets Key to Value if it has the value Expected.
	OpCompareAndSet Op = 4
	// OpCompareAndDelete removes Key if it has the value Expected.
	OpCompareAndDelete Op = 5
)

// Command is one change of one key. What follows the key in its encoding:
//
//	OpPut, OpPutIfAbsent   Value, to the end
//	OpDelete               nothing
//	OpCompareAndSet        the length of Expected as uvarint, Expected, then Value to the end
//	OpCompareAndDelete     Expected, to the end
type Command struct {
	Op              Op
	Key             []byte
	Value, Expected []byte
}

// Put returns the command that sets a key.
func Put(key, value []byte) []byte { return Command{Op: OpPut, Key: key, Value: value}.Append(nil) }

// Delete returns the command that removes a key.
func Delete(key []byte) []byte { return Command{Op: OpDelete, Key: key}.Append(nil) }

// PutIfAbsent returns the command that sets a key which is not there.
func PutIfAbsent(key, value []byte) []byte {
	return Command{Op: OpPutIfAbsent, Key: key, Value: value}.Append(nil)
}

// CompareAndSet returns the command that sets a key to value if it is there with the value expected. An empty value is a value.
func CompareAndSet(key, expected, value []byte) []byte {
	return Command{Op: OpCompareAndSet, Key: key, Expected: expected, Value: value}.Append(nil)
}

// CompareAndDelete returns the command that removes a key if it is there with the value expected.
func CompareAndDelete(key, expected []byte) []byte {
	return Command{Op: OpCompareAndDelete, Key: key, Expected: expected}.Append(nil)
}

// Append appends the command's encoding to dst.
func (c Command) Append(dst []byte) []byte {
	dst = appendBytes(append(dst, byte(c.Op)), c.Key)
	switch c.Op {
	case OpPut, OpPutIfAbsent:
		dst = append(dst, c.Value...)
	case OpCompareAndSet:
		dst = append(appendBytes(dst, c.Expected), c.Value...)
	case OpCompareAndDelete:
		dst = append(dst, c.Expected...)
	}
	return dst
}

func appendBytes(dst, data []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(data))), data...)
}

// Decode returns the command that bytes are. Its slices alias them. The error wraps ErrBadCommand.
func Decode(data []byte) (c Command, err error) {
	if len(data) == 0 {
		return c, fmt.Errorf("%w: it is empty", ErrBadCommand)
	}
	c.Op = Op(data[0])
	c.Key, data, err = cutBytes("key", data[1:])
	switch {
	case err != nil:
		return Command{}, err
	case len(c.Key) == 0 || len(c.Key) > MaxKeyBytes:
		return Command{}, fmt.Errorf("%w: key of %d bytes, want 1 to %d", ErrBadCommand, len(c.Key), MaxKeyBytes)
	}
	switch c.Op {
	case OpPut, OpPutIfAbsent:
		c.Value = data
	case OpCompareAndSet:
		c.Expected, c.Value, err = cutBytes("expected value", data)
	case OpCompareAndDelete:
		c.Expected = data
	case OpDelete:
		if len(data) > 0 {
			err = fmt.Errorf("%w: %d bytes behind the key of a delete", ErrBadCommand, len(data))
		}
	default:
		err = fmt.Errorf("%w: operation %d, want 1 to 5", ErrBadCommand, c.Op)
	}
	if err != nil {
		return Command{}, err
	}
	return c, nil
}

func cutBytes(what string, data []byte) (part, rest []byte, err error) {
	length, n := binary.Uvarint(data)
	if n <= 0 || length > uint64(len(data)-n) || n > 1 && data[n-1] == 0 { // the last: one encoding of each length
		return nil, nil, fmt.Errorf("%w: length of the %s", ErrBadCommand, what)
	}
	end := n + int(length)
	return data[n:end:end], data[end:], nil
}

// Change is what a command does to a key that has a value, or has none.
type Change struct {
	Set, Delete bool // neither: nothing is changed
}

// Apply decides what the command does. It is for state machines that take these commands; the result is for the entry.
func (c *Command) Apply(current []byte, exists bool) (change Change, result rsm.Result) {
	same := exists && string(current) == string(c.Expected)
	switch c.Op {
	case OpPut:
		change.Set = true
	case OpDelete:
		change.Delete = exists
	case OpPutIfAbsent:
		change.Set = !exists
	case OpCompareAndSet:
		change.Set = same
	case OpCompareAndDelete:
		change.Delete = same
	}
	if exists {
		result.Value |= existed
	}
	switch {
	case change.Set || change.Delete:
		result.Value |= changed
	case exists: // of what Delete finds there is nothing to tell
		result.Data = current
	}
	return change, result
}

const (
	existed = 1 << iota
	changed
	refused
)

// BadCommand is the result of bytes that are no command.
func BadCommand() rsm.Result { return rsm.Result{Value: refused} }

// Outcome is what became of a command.
type Outcome struct {
	// Existed says that the key was there before.
	Existed bool
	// Changed says that the key was set or removed. If not, Current is its value, if it has one, and was the reason.
	Changed bool
	Current []byte
	// Refused says that the bytes were no command.
	Refused bool
}

// OutcomeOf returns what the result of a proposal says.
func OutcomeOf(result rsm.Result) Outcome {
	return Outcome{
		Existed: result.Value&existed != 0, Changed: result.Value&changed != 0, Refused: result.Value&refused != 0, Current: result.Data,
	}
}
