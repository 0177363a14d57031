package main

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// writeSnapshot makes a snapshot file of shard 7.
func writeSnapshot(t *testing.T) (path string, content []byte) {
	t.Helper()
	var file bytes.Buffer
	writer, err := snapshot.NewWriter(&file, raftpb.SnapshotMeta{ShardID: 7, ReplicaID: 2, Index: 40, Term: 3, Kind: raftpb.SnapshotMemory},
		snapshot.WriterOptions{BlockBytes: 16})
	if err != nil {
		t.Fatal(err)
	}
	state, err := writer.State()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := state.Write(bytes.Repeat([]byte("state"), 20)); err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "file.snapshot")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, file.Bytes()
}

func TestSnapshotVerifySaysWhatAFileHoldsAndWhatIsWrong(t *testing.T) {
	path, whole := writeSnapshot(t)
	out, errOut, code := command("snapshot", "verify", path)
	if code != exitOK || !strings.Contains(out, "shard 7 up to entry 40 of term 3, taken by replica 2") || !strings.Contains(out, "7 blocks") {
		t.Fatalf("code %d, %q, %q", code, out, errOut)
	}
	for _, test := range []struct {
		name   string
		damage func([]byte) []byte
		says   string
	}{
		{"a flipped bit", func(b []byte) []byte { b[len(b)-62-3] ^= 1; return b }, "block 7: checksum"},
		{"cut off", func(b []byte) []byte { return b[:len(b)-70] }, "snapshot: cut off: block 7"},
		{"without footer", func(b []byte) []byte { return b[:len(b)-60] }, "cut off: footer"},
		{"bytes behind", func(b []byte) []byte { return append(b, 0) }, "bytes behind the footer"},
		{"foreign", func(b []byte) []byte { b[0] = 'X'; return b }, "not a snapshot file"},
		{"newer", func(b []byte) []byte {
			b[8] = 9
			end := 16 + int(binary.LittleEndian.Uint32(b[12:]))
			binary.LittleEndian.PutUint32(b[end:], crc32.Checksum(b[:end], crc32.MakeTable(crc32.Castagnoli)))
			return b
		}, "version is not supported"},
		{"rotten version", func(b []byte) []byte { b[8] = 9; return b }, "damaged: header: checksum"},
		{"empty", func([]byte) []byte { return nil }, "cut off: header"},
	} {
		if err := os.WriteFile(path, test.damage(bytes.Clone(whole)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, errOut, code := command("snapshot", "verify", path)
		if code != exitFailed || !strings.Contains(errOut, test.says) || !strings.Contains(errOut, path) {
			t.Errorf("%s: code %d, %q, want %q", test.name, code, errOut, test.says)
		}
	}
	if _, errOut, code := command("snapshot", "verify", path+".none"); code != exitFailed || !strings.Contains(errOut, "no such file") {
		t.Errorf("no file: code %d, %q", code, errOut)
	}
	if _, _, code := command("snapshot", "verify"); code != exitUsage {
		t.Errorf("no argument: code %d", code)
	}
}

func TestBytesBar(t *testing.T) {
	var out bytes.Buffer
	at := time.Unix(0, 0)
	bar := bytesBar(&out, "file", 4e6, func() time.Time { at = at.Add(time.Second); return at })
	for _, n := range []uint64{0, 2e6, 4e6, 4e6} {
		bar(n)
	}
	want := "\rfile [..............................] 0.0 of 4.0 MB\rfile [###############...............] 2.0 of 4.0 MB" +
		"\rfile [##############################] 4.0 of 4.0 MB\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestSnapshotImportBeginsAShardOnAStoppedHost(t *testing.T) {
	path, _ := writeSnapshot(t)
	dir := filepath.Join(t.TempDir(), "host")
	host := writeHost(t, dir, "seglog", 1)
	address := host.Info().Identity.Address
	members := "2=" + address
	arguments := func(more ...string) []string {
		return append([]string{"snapshot", "import", "--data", dir, "--shard", "7", "--replica", "2", "--members", members}, more...)
	}
	if _, errOut, code := command(arguments("--force", path)...); code != exitFailed || !strings.Contains(errOut, "in use") {
		t.Errorf("into a running host: code %d, %q", code, errOut)
	}
	if err := host.Close(); err != nil {
		t.Fatal(err)
	}
	if _, errOut, code := command(arguments(path)...); code != exitFailed || !strings.Contains(errOut, "would be thrown away: replica 2 with a log up to") {
		t.Errorf("over what is there: code %d, %q", code, errOut)
	}
	out, errOut, code := command(arguments("--force", path)...)
	if code != exitOK || !strings.Contains(out, "thrown away: replica 2 of shard 7") || !strings.Contains(out, "begins anew behind entry 40") {
		t.Errorf("code %d, %q, %q", code, out, errOut)
	}
	if out, errOut, code := command("log", "inspect", dir); code != exitOK || !strings.Contains(out, "installing the snapshot up to entry 40 of term 3") {
		t.Errorf("code %d, %q, %q", code, out, errOut)
	}
	for _, wrong := range [][]string{
		{"snapshot", "import", path}, arguments(), arguments("--members", "2", path), arguments("--members", "2=a,2=b", path),
		arguments("--members", "2="+address+",3=x", path),
	} {
		if _, _, code := command(wrong...); code != exitUsage {
			t.Errorf("%v: code %d", wrong, code)
		}
	}
}
