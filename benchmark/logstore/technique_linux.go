package logstore

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	blockSize = 4 << 10
	// minFileSize and maxFileSize bound the size of a file of the limit; it is larger only for large writes.
	minFileSize = 64 << 20
	maxFileSize = 1 << 30
)

// Technique is a way to make bytes durable.
type Technique struct {
	// Layout is append, to a growing file; fallocate, into space that was allocated and not written; overwrite, into
	// blocks that were written before.
	Layout string
	// Direct passes the page cache.
	Direct bool
}

// String names the technique.
func (t Technique) String() string {
	if t.Direct {
		return t.Layout + "+O_DIRECT"
	}
	return t.Layout
}

// techniques lists what the limit chooses from.
func techniques() []Technique {
	var all []Technique
	for _, layout := range []string{"append", "fallocate", "overwrite"} {
		all = append(all, Technique{layout, false}, Technique{layout, true})
	}
	return all
}

// errUnsupported says that the file system does not offer a technique.
var errUnsupported = errors.New("logstore: technique is not supported here")

// writer is one file of the limit, begun anew when it is full.
type writer struct {
	technique Technique
	name      string
	file      *os.File
	size      int64
	at        int64
	buffer    []byte // what is written at a time
}

// open makes a file of at least minFileSize, with room for at least four writes of size bytes; where blocks are overwritten, of room bytes.
func (t Technique) open(name string, size int, room int64) (*writer, error) {
	w := &writer{technique: t, name: name, size: minFileSize}
	if t.Layout == "overwrite" {
		w.size = min(max(w.size, room), maxFileSize)
	}
	w.size = max(w.size, 4*int64(alignUp(size))) / blockSize * blockSize
	return w, w.create()
}

func alignUp(size int) int { return (size + blockSize - 1) / blockSize * blockSize }

// resize changes how many bytes are written at a time: whole blocks.
func (w *writer) resize(size int) error {
	aligned := alignUp(size)
	if aligned > cap(w.buffer) {
		w.buffer = alignedBuffer(2 * aligned)
	}
	w.buffer = w.buffer[:aligned]
	if int64(aligned) <= w.size {
		return nil
	}
	w.size = 4 * int64(aligned)
	_ = w.file.Close()
	return w.create()
}

// alignedBuffer returns memory that O_DIRECT accepts, filled with bytes that are not all 0.
func alignedBuffer(size int) []byte {
	memory := make([]byte, size+blockSize)
	skip := blockSize - int(uintptr(unsafe.Pointer(&memory[0]))%blockSize)
	buffer := memory[skip : skip+size : skip+size]
	for i := range buffer {
		buffer[i] = byte(i * 31)
	}
	return buffer
}

func (w *writer) create() error {
	flags := os.O_RDWR | os.O_CREATE | os.O_TRUNC
	if w.technique.Direct {
		flags |= unix.O_DIRECT
	}
	file, err := os.OpenFile(w.name, flags, 0o600)
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: %s", errUnsupported, w.technique)
	}
	if err != nil {
		return fmt.Errorf("logstore: %w", err)
	}
	w.file, w.at = file, 0
	switch w.technique.Layout {
	case "fallocate":
		err = unix.Fallocate(int(file.Fd()), 0, 0, w.size)
		if errors.Is(err, unix.EOPNOTSUPP) {
			err = fmt.Errorf("%w: %s", errUnsupported, w.technique)
		}
	case "overwrite":
		err = w.fill()
	}
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		_ = file.Close()
		return fmt.Errorf("logstore: %w", err)
	}
	return nil
}

func (w *writer) fill() error {
	block := alignedBuffer(1 << 20)
	for at := int64(0); at < w.size; at += int64(len(block)) {
		if _, err := w.file.WriteAt(block[:min(int64(len(block)), w.size-at)], at); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) loop(duration time.Duration, count *int) error {
	for begin := time.Now(); time.Since(begin) < duration; {
		if w.at+int64(len(w.buffer)) > w.size {
			if err := w.next(); err != nil {
				return err
			}
		}
		if _, err := w.file.WriteAt(w.buffer, w.at); err != nil {
			return fmt.Errorf("logstore: %s: %w", w.technique, err)
		}
		if err := unix.Fdatasync(int(w.file.Fd())); err != nil {
			return fmt.Errorf("logstore: %s: %w", w.technique, err)
		}
		w.at += int64(len(w.buffer))
		if count != nil {
			*count++
		}
	}
	return nil
}

// next goes on at the beginning of the file if its blocks are to be overwritten, in a new file otherwise.
func (w *writer) next() error {
	if w.technique.Layout == "overwrite" {
		w.at = 0
		return nil
	}
	_ = w.file.Close()
	return w.create()
}

func (w *writer) close() {
	_ = w.file.Close()
	_ = os.Remove(w.name)
}
