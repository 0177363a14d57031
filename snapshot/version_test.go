package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"testing"
)

// TestFilesOfTheFirstVersionAreRead reads files that a writer of version 1 has made of testParts, and finds every flipped bit of them.
func TestFilesOfTheFirstVersionAreRead(t *testing.T) {
	for _, name := range []string{"version-1", "version-1-compressed"} {
		file, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		parts, summary, err := readParts(bytes.NewReader(file))
		if err != nil || fmt.Sprint(parts) != fmt.Sprint(testParts) {
			t.Fatalf("%s: %v: %v", name, parts, err)
		}
		if summary.Digest != sha256.Sum256(file[:len(file)-footerSize]) {
			t.Errorf("%s: digest %x is not the SHA-256 of the file", name, summary.Digest)
		}
		agree(t, file, 3, 100)
		for bit := range len(file) * 8 {
			damaged := bytes.Clone(file)
			damaged[bit/8] ^= 1 << (bit % 8)
			if _, err := Verify(bytes.NewReader(damaged), nil); err == nil || errors.Is(err, ErrVersion) {
				t.Fatalf("%s: byte %d, bit %d: %v", name, bit/8, bit%8, err)
			}
		}
	}
}

// headerEnd is where the checksum of a file's header begins.
func headerEnd(file []byte) int { return fixedHeader + int(binary.LittleEndian.Uint32(file[12:])) }

// ofVersion makes a file of another version, the header of which is whole.
func ofVersion(file []byte, v uint16) []byte {
	binary.LittleEndian.PutUint16(file[8:], v)
	end := headerEnd(file)
	binary.LittleEndian.PutUint32(file[end:], crc32.Checksum(file[:end], castagnoli))
	return file
}

// headerHolds says whether the checksum of a file's header is right.
func headerHolds(file []byte) bool {
	if len(file) < fixedHeader || headerEnd(file)+4 > len(file) {
		return false
	}
	end := headerEnd(file)
	return crc32.Checksum(file[:end], castagnoli) == binary.LittleEndian.Uint32(file[end:])
}

// TestAVersionThatRottedIsDamage: one flipped bit makes a later version of any, and whoever believes it waits for a program that nobody has, where
// another snapshot would have served.
func TestAVersionThatRottedIsDamage(t *testing.T) {
	for bit := range 16 {
		file := testFile(t, WriterOptions{})
		file[8+bit/8] ^= 1 << (bit % 8)
		if _, err := NewReader(bytes.NewReader(file)); !errors.Is(err, ErrDamaged) || errors.Is(err, ErrVersion) {
			t.Errorf("bit %d: %v", bit, err)
		}
		if _, err := pushed(file, 5); !errors.Is(err, ErrDamaged) || errors.Is(err, ErrVersion) {
			t.Errorf("bit %d, pushed: %v", bit, err)
		}
	}
}

// TestALaterVersionIsRefused: so a stream from a newer host ends before anything of it is kept. The metadata may be such as this program cannot read.
func TestALaterVersionIsRefused(t *testing.T) {
	for _, v := range []uint16{0, version + 1, 0xffff} {
		file := testFile(t, WriterOptions{})
		file[fixedHeader] ^= 0xff
		file = ofVersion(file, v)
		if _, err := NewReader(bytes.NewReader(file)); !errors.Is(err, ErrVersion) {
			t.Errorf("version %d: %v", v, err)
		}
		if _, err := pushed(file, 5); !errors.Is(err, ErrVersion) {
			t.Errorf("version %d, pushed: %v", v, err)
		}
	}
}

// TestTheDigestNoticesABlockWithTheSameHead: a block of other bytes, whose head says that they are right.
func TestTheDigestNoticesABlockWithTheSameHead(t *testing.T) {
	d, other := newDigest(version), newDigest(version)
	for at, text := range []string{"one", "two"} {
		sum := []*digest{&d, &other}[at]
		sum.head([]byte("the same"))
		sum.stored([]byte(text))
		sum.endBlock()
	}
	if d.result() == other.result() {
		t.Error("the digests are the same")
	}
}
