package items

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func stream(t testing.TB, n int) (data []byte, sum Sum) {
	var out bytes.Buffer
	w := NewWriter(&out)
	for i := range n {
		key, value := fmt.Appendf(nil, "key %05d", i), []byte(strings.Repeat("v", i%50))
		sum.Add(key, value)
		if err := w.Add(key, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(sum); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), sum
}

func readAll(in io.Reader) (Sum, error) {
	r := NewReader(in)
	for {
		if _, _, err := r.Next(); errors.Is(err, io.EOF) {
			return r.Sum(), nil
		} else if err != nil {
			return r.Sum(), err
		}
	}
}

func TestEveryCutAndEveryFlippedByteIsNoticed(t *testing.T) {
	data, sum := stream(t, 60)
	if got, err := readAll(bytes.NewReader(data)); err != nil || got != sum {
		t.Fatalf("read %+v, %v, want %+v", got, err, sum)
	}
	for n := range data {
		if _, err := readAll(bytes.NewReader(data[:n])); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
		damaged := bytes.Clone(data)
		damaged[n] ^= 1 << (n % 8)
		if _, err := readAll(bytes.NewReader(damaged)); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d flipped: %v", n, err)
		}
	}
	if _, err := readAll(bytes.NewReader(append(data, 0))); !errors.Is(err, ErrDamaged) {
		t.Errorf("one byte more: %v", err)
	}
	failed := errors.New("the input failed")
	if _, err := readAll(io.MultiReader(bytes.NewReader(data[:100]), failing{failed})); !errors.Is(err, failed) || errors.Is(err, ErrDamaged) {
		t.Errorf("an input that fails: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A state that is not what its sum says is not saved.
func TestAWrongSumIsNotWritten(t *testing.T) {
	w := NewWriter(io.Discard)
	if err := w.Add([]byte("a"), nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(Sum{Count: 1}); err == nil {
		t.Error("it was written")
	}
}

func TestSums(t *testing.T) {
	var a, b Sum
	a.Add([]byte("one"), []byte("1"))
	a.Add([]byte("two"), nil)
	b.Add([]byte("two"), nil)
	b.Add([]byte("three"), []byte("3"))
	b.Add([]byte("one"), []byte("1"))
	b.Remove([]byte("three"), []byte("3"))
	if a != b {
		t.Errorf("%+v and %+v are of the same items", a, b)
	}
	seen := map[uint64]string{}
	for _, item := range [][2]string{{"a", ""}, {"a", "\x00"}, {"a\x00", ""}, {"", "a"}, {"ab", "c"}, {"a", "bc"}, {strings.Repeat("a", 16), ""},
		{strings.Repeat("a", 17), ""}, {"", strings.Repeat("a", 16)}} {
		h := hash([]byte(item[0]), []byte(item[1]))
		if seen[h] != "" {
			t.Errorf("%q hashes as %s", item, seen[h])
		}
		seen[h] = fmt.Sprintf("%q", item)
	}
}

// Whatever the bytes are: an error or items, and items are written again as they were.
func FuzzReader(f *testing.F) {
	for _, n := range []int{0, 1, 5} {
		data, _ := stream(f, n)
		f.Add(data)
		f.Add(data[:len(data)-1])
	}
	f.Add([]byte("\xda\xda\xda\xda\xda\xda\xda\xda\xda\x30")) // a length of more than 64 bits was an error of another kind
	f.Add([]byte("\x01a\xff\xff\xff\xff\x03"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		w, r := NewWriter(&out), NewReader(bytes.NewReader(data))
		for {
			key, value, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				if !errors.Is(err, ErrDamaged) {
					t.Fatal(err)
				}
				return
			}
			if err := w.Add(key, value); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(r.Sum()); err != nil {
			t.Fatal(err)
		}
		if out.Len() > len(data) {
			t.Fatalf("%d bytes were read as items that take %d", len(data), out.Len())
		}
	})
}
