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

// A stream may be ended while its last bytes wait to be confirmed, by its replica that recovers from a snapshot itself: the sender hears of it at
// once. It used to go on saying to the receiver that bytes would come.
func TestAPipeThatIsClosedSaysSo(t *testing.T) {
	woken := 0
	pipe := newStreamPipe(8, 16, func() { woken++ }, func() bool { return true }, func(int) {})
	if _, err := pipe.Write(make([]byte, 12)); err != nil {
		t.Fatal(err)
	}
	pipe.finish(nil)
	if data, total, err := pipe.chunk(0, 100); len(data) != 8 || total != 12 || err != nil {
		t.Fatalf("%d bytes of %d: %v", len(data), total, err)
	}
	before := woken
	pipe.close()
	if woken == before {
		t.Error("nobody is woken")
	}
	for _, offset := range []uint64{0, 8, 12} {
		if _, total, err := pipe.chunk(offset, 100); !errors.Is(err, errStreamClosed) {
			t.Errorf("at byte %d of %d: %v", offset, total, err)
		}
	}
}
