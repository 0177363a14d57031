package snapshot

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
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
			if _, err := Verify(bytes.NewReader(damaged), nil); err == nil {
				t.Fatalf("%s: byte %d, bit %d: not noticed", name, bit/8, bit%8)
			}
		}
	}
}

// TestALaterVersionIsRefused: so a stream from a newer host ends before anything of it is kept.
func TestALaterVersionIsRefused(t *testing.T) {
	for _, v := range []byte{0, version + 1} {
		file := testFile(t, WriterOptions{})
		file[8] = v
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
