package raftpb

import (
	"encoding/binary"
	"fmt"
)

// EntryIterator walks over the entries of one batch with a plain body:
//
//	it := b.Iterator()
//	for it.Next() {
//		use(it.Command())
//	}
//	if it.Err() != nil { … }
//
// Next returns true for exactly Count entries, or Err tells why it did not. An EntryIterator is a value, needs no release,
// and is not safe for concurrent use. (Declared in the for statement it would be copied at every round.)
type EntryIterator struct {
	body      []byte
	position  int
	remaining uint32
	sessions  bool
	command   []byte
	last      SessionFields // of the last entry with a session
	absent    bool          // the current entry has none
	err       error
}

// Iterator returns an iterator that stands before the first entry. For a body that is compressed or was omitted it
// yields nothing and Err is ErrNotPlain.
func (b Batch) Iterator() EntryIterator {
	if b.Flags()&(FlagCompressed|FlagBodyOmitted) != 0 {
		return EntryIterator{err: fmt.Errorf("%w: flags %#x", ErrNotPlain, uint8(b.Flags()))}
	}
	return EntryIterator{body: b[HeaderSize:], remaining: b.Count(), sessions: b.Flags()&FlagSessions != 0}
}

// Next steps to the next entry and reports whether there is one.
func (it *EntryIterator) Next() bool {
	if it.remaining == 0 {
		return it.end()
	}
	if it.sessions && !it.readSession() {
		return false
	}
	position := it.position
	if position < len(it.body) && it.body[position] < 0x80 {
		length := int(it.body[position])
		position++
		if length <= len(it.body)-position {
			end := position + length
			it.command = it.body[position:end:end]
			it.position = end
			it.remaining--
			return true
		}
	}
	return it.nextLong()
}

// nextLong handles an entry whose length takes more than one byte, and the entries that are wrong.
func (it *EntryIterator) nextLong() bool {
	length, n := binary.Uvarint(it.body[it.position:])
	if n <= 0 {
		return it.fail("no entry length")
	}
	start := it.position + n
	if length > uint64(len(it.body)-start) {
		return it.fail(fmt.Sprintf("entry length %d exceeds the %d bytes left", length, len(it.body)-start))
	}
	end := start + int(length)
	it.command = it.body[start:end:end]
	it.position = end
	it.remaining--
	return true
}

// end notes bytes after the last entry: a body that holds more than its header says is as wrong as one that holds less.
func (it *EntryIterator) end() bool {
	if it.err == nil && it.position != len(it.body) {
		it.fail(fmt.Sprintf("%d bytes after the last entry", len(it.body)-it.position))
	}
	it.command = nil
	return false
}

func (it *EntryIterator) fail(what string) bool {
	it.err = fmt.Errorf("%w: body at byte %d: %s (%d entries to come)", ErrBadBatch, it.position, what, it.remaining)
	it.remaining, it.position, it.command = 0, len(it.body), nil
	return false
}

// Command returns the current entry's command. It aliases the batch, has no spare capacity, and is read-only (R4).
func (it *EntryIterator) Command() []byte { return it.command }

// Err returns why Next ended early: nil, ErrBadBatch or ErrNotPlain.
func (it *EntryIterator) Err() error { return it.err }
