package seglog

import (
	"bytes"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
)

// What names its version is of another one only if its checksum holds; a version that has rotted is damage.
func TestAVersionOfAStoreThatRottedIsDamage(t *testing.T) {
	memory := vfs.NewMem()
	l, err := OpenLanes(manualLanes(memory, "b"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		at     int // of the version
		decode func([]byte) error
	}{
		{formatName, 16, func(data []byte) error { _, err := decodeFormat(data); return err }},
		{lanesName, 8, func(data []byte) error { _, _, err := decodeLanes(data); return err }},
	} {
		whole := readFile(t, memory, "log/"+test.name)
		for bit := range 32 {
			data := bytes.Clone(whole)
			data[test.at+bit/8] ^= 1 << (bit % 8)
			if err := test.decode(data); !errors.Is(err, logdb.ErrDamaged) || errors.Is(err, ErrVersion) {
				t.Errorf("%s, bit %d: %v", test.name, bit, err)
			}
			end := len(data) - 4
			le.PutUint32(data[end:], crc32.Checksum(data[:end], castagnoli))
			if err := test.decode(data); !errors.Is(err, ErrVersion) {
				t.Errorf("%s, bit %d, with its checksum: %v", test.name, bit, err)
			}
		}
	}
}
