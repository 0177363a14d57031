package seglog

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The directory of a further lane was taken for that of the first: the store opened without the shards of the other lanes, and was written down
// as a whole one.
func TestFurtherLaneIsNotTheFirst(t *testing.T) {
	fs := vfs.NewMem()
	open := func(dir string, further ...string) error {
		lanes, err := OpenLanes(Options{Dir: dir, Directories: further, FS: fs, SegmentBytes: MinSegmentBytes, Manual: true, Buffered: true})
		if err != nil {
			return err
		}
		return lanes.Close()
	}
	if err := open("a", "b"); err != nil {
		t.Fatal(err)
	}
	for _, further := range [][]string{nil, {"c"}} {
		if err := open("b", further...); !errors.Is(err, ErrLanes) {
			t.Errorf("lane 1 as the first of %d: %v, want ErrLanes", 1+len(further), err)
		}
	}
	if err := open("a", "b"); err != nil {
		t.Fatalf("the store after that: %v", err)
	}
}
