package rsm

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// The sessions section of a snapshot, version 1. Numbers are unsigned varints; sessions stand in the order of their last use, results in
// that of their calls:
//
//	┌─────────┬───────┬───────────────────────────────────────────────────────────────┐
//	│ version │ count │ session ...                                                   │
//	└────1────┴───────┴───────────────────────────────────────────────────────────────┘
//	session   │ client │ last use │ responded │ results │ result ...                   │
//	result    │ series - responded │ value │ length │ data ...                          │
const sectionVersion = 1

// encode writes the section.
func (t *sessionTable) encode(to io.Writer) error {
	w := bufio.NewWriter(to)
	_ = w.WriteByte(sectionVersion) // a bufio.Writer keeps its error for Flush
	var space []byte
	put := func(numbers ...uint64) {
		space = space[:0]
		for _, number := range numbers {
			space = binary.AppendUvarint(space, number)
		}
		_, _ = w.Write(space)
	}
	put(uint64(t.len()))
	for s := t.oldest; s != nil; s = s.newer {
		results := s.results()
		put(s.client, s.lastUse, s.responded, uint64(len(results)))
		for _, slot := range results {
			result := s.result(slot)
			put(slot.series-s.responded, result.Value, uint64(len(result.Data)))
			_, _ = w.Write(result.Data)
		}
	}
	return w.Flush()
}

// results returns the results that are kept, by series.
func (s *session) results() []*slot {
	var kept []*slot
	for i := range s.slots {
		if s.slots[i].series > s.responded {
			kept = append(kept, &s.slots[i])
		}
	}
	slices.SortFunc(kept, func(a, b *slot) int { return cmp.Compare(a.series, b.series) })
	return kept
}

// decode fills an empty table from a section. Errors: ErrSessionsDamaged and those of from.
func (t *sessionTable) decode(from io.Reader) error {
	d := &sectionDecoder{in: bufio.NewReader(from)}
	if version, err := d.in.ReadByte(); err != nil || version != sectionVersion {
		return d.damaged(err, "version %d, this program reads version %d", version, sectionVersion)
	}
	count, err := d.number("count of sessions")
	if err != nil {
		return err
	}
	if count > MaxSessions {
		return d.damaged(nil, "%d sessions, accepted are up to %d", count, MaxSessions)
	}
	for range count {
		s, err := d.session()
		if err == nil {
			err = t.insert(s)
		}
		if err != nil {
			return err
		}
	}
	if _, err := d.in.ReadByte(); !errors.Is(err, io.EOF) {
		return d.damaged(err, "more than its %d sessions", count)
	}
	return nil
}

// insert adds a session that was used after all that are there.
func (t *sessionTable) insert(s *session) error {
	switch {
	case s.client == 0 || s.client > MaxClientID || s.responded == SeriesClose:
		return fmt.Errorf("%w: client ID %d, call %d", ErrSessionsDamaged, s.client, s.responded)
	case t.byClient[s.client] != nil:
		return fmt.Errorf("%w: client %d is there twice", ErrSessionsDamaged, s.client)
	case t.newest != nil && t.newest.lastUse >= s.lastUse:
		return fmt.Errorf("%w: clients %d and %d were last used at indexes %d and %d", ErrSessionsDamaged, t.newest.client, s.client, t.newest.lastUse, s.lastUse)
	}
	t.put(s)
	return nil
}

// keep adds a result to a session that is being read.
func (s *session) keep(series uint64, result Result, stored bool) error {
	if series <= s.responded || series-s.responded > MaxSessionWindow || series == SeriesClose || s.find(series) != nil {
		return fmt.Errorf("%w: client %d: call %d above call %d", ErrSessionsDamaged, s.client, series, s.responded)
	}
	slot := s.make(series)
	s.set(slot, result)
	slot.stored, s.heavy = stored, s.heavy || stored
	return nil
}

// sectionDecoder reads a section piece by piece, so that a wrong length asks for no more memory than there are bytes.
type sectionDecoder struct{ in *bufio.Reader }

func (d *sectionDecoder) damaged(cause error, format string, arguments ...any) error {
	if cause != nil && !errors.Is(cause, io.EOF) && !errors.Is(cause, io.ErrUnexpectedEOF) {
		return cause // of the file, which knows the place
	}
	return fmt.Errorf("%w: section: %s", ErrSessionsDamaged, fmt.Sprintf(format, arguments...))
}

func (d *sectionDecoder) number(what string) (uint64, error) {
	number, err := binary.ReadUvarint(d.in)
	if err != nil {
		if err.Error() == errOverflow {
			err = nil
		}
		return 0, d.damaged(err, "no %s", what)
	}
	return number, nil
}

// errOverflow is what encoding/binary says of a number of more than 64 bits, without a sentinel.
const errOverflow = "binary: varint overflows a 64-bit integer"

func (d *sectionDecoder) session() (*session, error) {
	var fields [4]uint64
	for i, what := range [...]string{"client ID", "index of a last use", "acknowledged call", "count of results"} {
		var err error
		if fields[i], err = d.number(what); err != nil {
			return nil, err
		}
	}
	s := &session{client: fields[0], lastUse: fields[1], responded: fields[2]}
	for range fields[3] {
		if err := d.result(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (d *sectionDecoder) result(s *session) error {
	above, err := d.number("number of a call")
	if err != nil {
		return err
	}
	value, err := d.number("value of a result")
	if err != nil {
		return err
	}
	length, err := d.number("length of a result")
	if err != nil {
		return err
	}
	if above > MaxSessionWindow || above > SeriesClose-s.responded {
		return d.damaged(nil, "client %d: call %d above call %d", s.client, above, s.responded)
	}
	result := Result{Value: value}
	if length > 0 {
		result.Data, err = io.ReadAll(io.LimitReader(d.in, int64(min(length, 1<<62))))
		if err != nil || uint64(len(result.Data)) != length {
			return d.damaged(err, "client %d: %d bytes of a result, want %d", s.client, len(result.Data), length)
		}
	}
	return s.keep(s.responded+above, result, false)
}
