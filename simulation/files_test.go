package simulation

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const testFile = logDirectory + "/000007.log"

// newTestFiles makes files with one that is open, and has one synced block.
func newTestFiles(t *testing.T, seed uint64) (*files, vfs.File) {
	t.Helper()
	memory := vfs.NewCrashableMem()
	if err := memory.MkdirAll(logDirectory, 0o755); err != nil {
		t.Fatal(err)
	}
	f := newFiles(memory, random{state: seed})
	file, err := f.Create(testFile, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	writeBlock(t, file, 1)
	for _, name := range []string{logDirectory, ""} {
		directory, err := f.OpenDir(name)
		if err := errors.Join(err, file.Sync(), directory.Sync()); err != nil {
			t.Fatal(err)
		}
	}
	return f, file
}

func block(fill byte) []byte { return bytes.Repeat([]byte{fill}, 4096) }

func writeBlock(t *testing.T, file vfs.File, fill byte) {
	t.Helper()
	if _, err := file.Write(block(fill)); err != nil {
		t.Fatal(err)
	}
}

// content returns what a file holds, nil if it is not there.
func fileContent(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	file, err := fs.Open(name)
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What was synced is there after a power cut; of the rest some is, in any order, and some is not; and so are names.
func TestFilesAfterAPowerCut(t *testing.T) {
	met := map[string]bool{}
	for seed := range uint64(300) {
		f, file := newTestFiles(t, seed)
		f.cutAfter(1 + int(seed%4))
		writeBlock(t, file, 2)
		writeBlock(t, file, 3)
		other, err := f.Create(logDirectory+"/000008.log", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		writeBlock(t, other, 4)
		image, what := f.cut()
		data := fileContent(t, image, testFile)
		if len(data) < 4096 || !bytes.Equal(data[:4096], block(1)) {
			t.Fatalf("seed %d: what was synced is not there: %d bytes", seed, len(data))
		}
		data = append(data, make([]byte, 3*4096-len(data))...)
		second, third := data[4096:2*4096], data[2*4096:]
		met["all"] = met["all"] || bytes.Equal(second, block(2)) && bytes.Equal(third, block(3))
		met["out of order"] = met["out of order"] || bytes.Equal(second, block(0)) && bytes.Equal(third, block(3))
		met["nothing"] = met["nothing"] || bytes.Equal(second, block(0)) && bytes.Equal(third, block(0))
		met["torn"] = met["torn"] || what.torn && bytes.IndexByte(second, 0) > 0 && bytes.IndexByte(second, 2) >= 0
		name := fileContent(t, image, logDirectory+"/000008.log") != nil
		met["name kept"] = met["name kept"] || name
		met["name lost"] = met["name lost"] || !name && what.lostNames > 0
	}
	for _, state := range []string{"all", "out of order", "nothing", "torn", "name kept", "name lost"} {
		if !met[state] {
			t.Errorf("never left behind: %s", state)
		}
	}
}

// A sync that fails is followed by one that succeeds, and what was to be synced never is.
func TestFilesFailASync(t *testing.T) {
	f, file := newTestFiles(t, 1)
	writeBlock(t, file, 2)
	f.failNextSync(errSync)
	if err := file.Sync(); !errors.Is(err, errSync) {
		t.Errorf("sync: %v", err)
	}
	if err := file.Sync(); err != nil {
		t.Errorf("the sync after the one that failed: %v", err)
	}
	if data := fileContent(t, f.copy(), testFile); !bytes.Equal(data, block(1)) {
		t.Errorf("%d bytes are durable, want the first 4096", len(data))
	}
}

// A full disk takes a part of the write that does not fit, and nothing more.
func TestFilesGetFull(t *testing.T) {
	f, file := newTestFiles(t, 1)
	f.fill(5000)
	writeBlock(t, file, 2)
	if n, err := file.Write(block(3)); n != 904 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, err := file.Write(block(3)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("another write: %v", err)
	}
	if _, err := f.Create(logDirectory+"/000009.log", vfs.WriteCategoryUnspecified); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("another file: %v", err)
	}
}

// A lost write is reported written, and a misdirected one stands elsewhere.
func TestFilesLoseAWrite(t *testing.T) {
	for _, l := range []losing{loseWrite, misplaceWrite} {
		f, file := newTestFiles(t, 1)
		const victim = logDirectory + "/000006.sst"
		other, err := f.Create(victim, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		writeBlock(t, other, 9)
		f.loseNext(l, fileLog)
		writeBlock(t, file, 2)
		writeBlock(t, file, 3)
		if err := file.Sync(); err != nil {
			t.Fatal(err)
		}
		if want := slicesOf(1, 0, 3); !bytes.Equal(fileContent(t, f.copy(), testFile), want) {
			t.Errorf("%d: the file does not lack the one write", l)
		}
		if hit := bytes.IndexByte(fileContent(t, f, victim), 2) >= 0; hit != (l == misplaceWrite) {
			t.Errorf("%d: the other file is hit: %v", l, hit)
		}
		if !f.isDamaged() {
			t.Errorf("%d: nothing is said to be damaged", l)
		}
	}
}

func slicesOf(fills ...byte) (data []byte) {
	for _, fill := range fills {
		data = append(data, block(fill)...)
	}
	return data
}
