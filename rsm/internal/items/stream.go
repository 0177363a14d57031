package items

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits of what a reader accepts. Commands keep to them, so that what is applied can also be saved.
const (
	// MaxKey is the length in bytes of the longest key.
	MaxKey = 1 << 16
	// MaxValue is the length in bytes of the longest value: more than a command may have.
	MaxValue = 1 << 30
)

// ErrDamaged says that bytes are no stream of items, or that it is not what its end says.
var ErrDamaged = errors.New("key-value snapshot is damaged")

const bufferBytes = 64 << 10

// Writer writes items.
type Writer struct {
	out   *bufio.Writer
	sum   Sum
	space [2 * binary.MaxVarintLen64]byte
}

// NewWriter returns a writer.
func NewWriter(out io.Writer) *Writer { return &Writer{out: bufio.NewWriterSize(out, bufferBytes)} }

// Add writes an item. Keys ascend.
func (w *Writer) Add(key, value []byte) error {
	w.sum.Add(key, value)
	if err := w.part(key); err != nil {
		return err
	}
	return w.part(value)
}

func (w *Writer) part(data []byte) error {
	if _, err := w.out.Write(binary.AppendUvarint(w.space[:0], uint64(len(data)))); err != nil {
		return err
	}
	_, err := w.out.Write(data)
	return err
}

// Close writes the end. The sum is what the items should have come to: another one is an error, for a state that does not agree with its
// own sum must not become the state of others.
func (w *Writer) Close(want Sum) error {
	if w.sum != want {
		return fmt.Errorf("key-value state has %d items with sum %016x, its sum says %d with %016x", w.sum.Count, w.sum.Hash, want.Count, want.Hash)
	}
	end := binary.LittleEndian.AppendUint64([]byte{0}, want.Count)
	if _, err := w.out.Write(binary.LittleEndian.AppendUint64(end, want.Hash)); err != nil {
		return err
	}
	return w.out.Flush()
}

// Reader reads what a Writer wrote.
type Reader struct {
	in   *bufio.Reader
	sum  Sum
	last []byte
	item []byte
}

// NewReader returns a reader.
func NewReader(in io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(in, bufferBytes)} }

// Next returns the next item, valid until the next call, or io.EOF once the end was read and agrees with all that came before and with the end of
// the input. ErrDamaged; the errors of the input.
func (r *Reader) Next() (key, value []byte, err error) {
	keyLength, err := r.length("key", MaxKey)
	if err != nil {
		return nil, nil, err
	}
	if keyLength == 0 {
		return nil, nil, r.end()
	}
	r.item = r.item[:0]
	if err := r.fill(keyLength); err != nil {
		return nil, nil, err
	}
	valueLength, err := r.length("value", MaxValue)
	if err != nil {
		return nil, nil, err
	}
	if err := r.fill(valueLength); err != nil {
		return nil, nil, err
	}
	key, value = r.item[:keyLength:keyLength], r.item[keyLength:]
	if string(key) <= string(r.last) {
		return nil, nil, fmt.Errorf("%w: item %d: key %.40q follows %.40q", ErrDamaged, r.sum.Count, key, r.last)
	}
	r.last = append(r.last[:0], key...)
	r.sum.Add(key, value)
	return key, value, nil
}

// Sum is that of the items so far.
func (r *Reader) Sum() Sum { return r.sum }

func (r *Reader) length(what string, most uint64) (int, error) {
	length, shift := uint64(0), 0
	for ; shift < 64; shift += 7 { // binary.ReadUvarint has an error of its own for one that is too long
		b, err := r.in.ReadByte()
		if err != nil {
			return 0, r.short(err)
		}
		if length |= uint64(b&0x7f) << shift; b < 0x80 {
			break
		}
	}
	if length > most || shift >= 64 {
		return 0, fmt.Errorf("%w: item %d: %s of %d bytes, want at most %d", ErrDamaged, r.sum.Count, what, length, most)
	}
	return int(length), nil
}

// fill appends n bytes of the input to the item, in pieces: a length alone must not allocate.
func (r *Reader) fill(n int) error {
	for n > 0 {
		piece := min(n, 1<<20)
		begin := len(r.item)
		r.item = append(r.item, make([]byte, piece)...)
		if _, err := io.ReadFull(r.in, r.item[begin:]); err != nil {
			return r.short(err)
		}
		n -= piece
	}
	return nil
}

func (r *Reader) short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends within or after item %d", ErrDamaged, r.sum.Count)
	}
	return err
}

func (r *Reader) end() error {
	var end [16]byte
	if _, err := io.ReadFull(r.in, end[:]); err != nil {
		return r.short(err)
	}
	want := Sum{binary.LittleEndian.Uint64(end[:]), binary.LittleEndian.Uint64(end[8:])}
	if r.sum != want {
		return fmt.Errorf("%w: %d items with sum %016x, its end says %d with %016x", ErrDamaged, r.sum.Count, r.sum.Hash, want.Count, want.Hash)
	}
	switch _, err := r.in.ReadByte(); {
	case err == nil:
		return fmt.Errorf("%w: it goes on behind its end", ErrDamaged)
	case !errors.Is(err, io.EOF):
		return err
	}
	return io.EOF
}
