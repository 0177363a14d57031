package nodehost

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"
)

func TestIdentitySurvivesEncoding(t *testing.T) {
	for _, id := range []identity{
		{hostID: 1, epoch: 1, deployment: "d", address: "a"},
		{hostID: 1<<64 - 1, epoch: 1 << 63, deployment: strings.Repeat("d", maxNameBytes), address: strings.Repeat("[::1]", 51)},
	} {
		got, err := decodeIdentity(id.encode())
		if err != nil || got != id {
			t.Errorf("%+v came back as %+v, %v", id, got, err)
		}
	}
}

// resealed returns the content with a change and a checksum that fits it.
func resealed(content []byte, change func([]byte)) []byte {
	content = append([]byte(nil), content...)
	change(content)
	body := content[:len(content)-4]
	binary.LittleEndian.PutUint32(content[len(body):], crc32.Checksum(body, castagnoli))
	return content
}

func TestIdentityRefusesEachWrongField(t *testing.T) {
	id := identity{hostID: 7, epoch: 3, deployment: "deployment", address: "host:1"}
	valid := id.encode()
	for name, test := range map[string]struct {
		content []byte
		says    string
	}{
		"empty":             {nil, "length"},
		"short":             {valid[:identityFixed], "length"},
		"long":              {append(valid, make([]byte, identityMaxLength)...), "length"},
		"magic":             {resealed(valid, func(b []byte) { b[0] = 'x' }), "magic"},
		"version":           {resealed(valid, func(b []byte) { b[8] = 9 }), "version is 9"},
		"rotten version":    {append(append(bytes.Clone(valid[:8]), 9), valid[9:]...), "checksum"},
		"reserved":          {resealed(valid, func(b []byte) { b[10] = 1 }), "reserved"},
		"host id":           {resealed(valid, func(b []byte) { b[12] = 0 }), "empty"},
		"epoch":             {resealed(valid, func(b []byte) { b[20] = 0 }), "empty"},
		"deployment length": {resealed(valid, func(b []byte) { b[28]++ }), "lengths"},
		"huge length":       {resealed(valid, func(b []byte) { b[29] = 255 }), "lengths"},
		"no deployment":     {resealed(valid, func(b []byte) { b[28], b[30] = 0, 16 }), "empty"},
	} {
		if _, err := decodeIdentity(test.content); !errors.Is(err, ErrIdentityDamaged) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for bit := range len(valid) * 8 {
		damaged := append([]byte(nil), valid...)
		damaged[bit/8] ^= 1 << (bit % 8)
		if _, err := decodeIdentity(damaged); !errors.Is(err, ErrIdentityDamaged) {
			t.Fatalf("bit %d flipped: %v", bit, err)
		}
	}
}

func FuzzIdentity(f *testing.F) {
	id := identity{hostID: 7, epoch: 3, deployment: "deployment", address: "host:1"}
	f.Add(id.encode())
	f.Add(id.encode()[:20])
	f.Add([]byte(identityMagic))
	f.Fuzz(func(t *testing.T, content []byte) {
		id, err := decodeIdentity(content)
		if err != nil {
			if !errors.Is(err, ErrIdentityDamaged) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		if string(id.encode()) != string(content) {
			t.Fatalf("%x is encoded as %x", content, id.encode())
		}
	})
}
