package engine

import (
	"errors"
	"testing"
)

// Who drives the workers by hand ends a process by running none of them again: a writer that waits for its receiver then would wait for ever.
func TestAHeldUpWriterGivesUpWhenNobodyIsRunAgain(t *testing.T) {
	turns := 0
	pipe := newStreamPipe(8, 16, func() {}, func() bool { turns++; return turns < 5 }, func(int) {})
	written, err := pipe.Write(make([]byte, 100))
	if !errors.Is(err, errStreamClosed) || turns != 5 || written != 16 {
		t.Errorf("%d bytes and %d turns: %v", written, turns, err)
	}
	if _, err := pipe.Write([]byte("more")); !errors.Is(err, errStreamClosed) {
		t.Error(err)
	}
}
