package snapshot

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func openDirectory(t testing.TB, fs vfs.FS) *Directory {
	t.Helper()
	d, err := OpenDirectory(fs, "host/snapshots")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func take(t testing.TB, d *Directory, text string) *Pending {
	t.Helper()
	p, err := d.Create()
	if err != nil {
		t.Fatal(err)
	}
	writeParts(t, p, WriterOptions{}, []part{{KindState, "", text}})
	return p
}

func readState(t testing.TB, d *Directory, name Name) string {
	t.Helper()
	file, err := d.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	parts, _, err := readParts(file)
	if err != nil || len(parts) != 1 {
		t.Fatalf("%+v: %v, %v", name, parts, err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return parts[0].text
}

func TestDirectoryKeepsWhatWasPublished(t *testing.T) {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("host", 0o700); err != nil {
		t.Fatal(err)
	}
	d := openDirectory(t, fs)
	a, b, other := Name{7, 1, 10}, Name{7, 1, 20}, Name{7, 2, 5}
	if err := d.Publish(Finished{take(t, d, "a"), a}, Finished{take(t, d, "other"), other}); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(Finished{take(t, d, "b"), b}); err != nil {
		t.Fatal(err)
	}
	abandoned := take(t, d, "abandoned")
	if err := errors.Join(abandoned.Abandon(), abandoned.Abandon()); err != nil {
		t.Fatal(err)
	}
	take(t, d, "left behind")
	d = openDirectory(t, fs)
	if all := d.All(); !slices.Equal(all, []Name{b, a, other}) {
		t.Fatal(all)
	}
	if files, err := fs.List("host/snapshots"); err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	if readState(t, d, a) != "a" || readState(t, d, b) != "b" || readState(t, d, other) != "other" {
		t.Fatal("wrong state")
	}
	if err := d.Retain(7, 1, 1); err != nil {
		t.Fatal(err)
	}
	if left := d.List(7, 1); !slices.Equal(left, []Name{b}) {
		t.Fatal(left)
	}
	if err := errors.Join(d.Retain(7, 1, 3), d.Retain(7, 2, 0)); err != nil {
		t.Fatal(err)
	}
	if all := d.All(); !slices.Equal(all, []Name{b}) {
		t.Fatal(all)
	}
	if all := openDirectory(t, fs).All(); !slices.Equal(all, []Name{b}) {
		t.Fatal(all)
	}
	if size, err := d.Size(b); err != nil || size == 0 || !strings.HasSuffix(d.Path(b), b.file()) {
		t.Fatal(size, err)
	}
	if _, err := d.Size(a); !errors.Is(err, iofs.ErrNotExist) {
		t.Fatal(err)
	}
}

// TestWhatIsRemovedStaysRemoved cuts the power after a Remove: what an earlier Retain took away must not come back either, for who
// removed a replica's snapshots will start another under its name.
func TestWhatIsRemovedStaysRemoved(t *testing.T) {
	fs := vfs.NewCrashableMem()
	if err := errors.Join(fs.MkdirAll("host", 0o700), syncDirectory(fs, "")); err != nil {
		t.Fatal(err)
	}
	d := openDirectory(t, fs)
	kept := Name{7, 2, 10}
	for _, name := range []Name{{7, 1, 10}, {7, 1, 20}, kept} {
		if err := d.Publish(Finished{take(t, d, "state"), name}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(d.Retain(7, 1, 0), d.Remove(7, 1)); err != nil {
		t.Fatal(err)
	}
	after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	if all := openDirectory(t, after).All(); !slices.Equal(all, []Name{kept}) {
		t.Fatal(all)
	}
}

func TestOtherFilesAreNoSnapshots(t *testing.T) {
	whole := Name{1, 2, 3}.file()
	if n, ok := parseName(whole); !ok || n != (Name{1, 2, 3}) {
		t.Fatal(n, ok)
	}
	for _, name := range []string{
		"", "snapshot-", whole + "0", whole[1:], whole + ".tmp", "snapshot-1-2-3", strings.ToUpper(whole), "snapshot-../../../etc/passwd",
		"snapshot-00000000000000g1-0000000000000002-0000000000000003",
	} {
		if n, ok := parseName(name); ok {
			t.Errorf("%q is %+v", name, n)
		}
	}
}

// TestACrashLeavesWholeSnapshots cuts the power at each call of the file system and keeps a random part of what was not synced:
// what was published before stays, and what is there is whole.
func TestACrashLeavesWholeSnapshots(t *testing.T) {
	crashed := 0
	for call := 0; ; call++ {
		fs := vfs.NewCrashableMem()
		if err := fs.MkdirAll("host", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syncDirectory(fs, ""); err != nil {
			t.Fatal(err)
		}
		var after *vfs.MemFS
		calls := 0
		counting := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				if calls == call {
					random := rand.New(rand.NewPCG(uint64(call), 1))
					after = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: random})
				}
				calls++
			}
			return nil
		}))
		var published []Name
		var known []Name // at the time of the crash
		step := func() {
			if after == nil {
				known = slices.Clone(published)
			}
		}
		d := openDirectory(t, counting)
		for i := range uint64(3) {
			first, second := Name{7, 1, 10 + i}, Name{8, 1, 10 + i}
			if err := d.Publish(Finished{take(t, d, "state"), first}, Finished{take(t, d, "state"), second}); err != nil {
				t.Fatal(err)
			}
			published = append(published, first, second)
			step()
		}
		if after == nil {
			break
		}
		crashed++
		found := openDirectory(t, after)
		all := found.All()
		for _, name := range all {
			if readState(t, found, name) != "state" {
				t.Fatalf("call %d: %+v", call, name)
			}
		}
		for _, name := range known {
			if !slices.Contains(all, name) {
				t.Fatalf("call %d: %+v was published and is gone: %+v", call, name, all)
			}
		}
		if files, err := after.List("host/snapshots"); err != nil || len(files) != len(all) {
			t.Fatalf("call %d: %v, %v", call, files, err)
		}
	}
	if crashed < 20 {
		t.Fatal("only", crashed, "crashes")
	}
}

// TestAFailedCallPublishesNothingHalf fails each call of the file system in turn.
func TestAFailedCallPublishesNothingHalf(t *testing.T) {
	failed := 0
	for call := 0; ; call++ {
		mem := vfs.NewMem()
		if err := mem.MkdirAll("host", 0o700); err != nil {
			t.Fatal(err)
		}
		calls := 0
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
				return nil
			}
			calls++
			if calls == call+1 {
				return errDisk
			}
			return nil
		}))
		err := publishOne(fs)
		if calls <= call {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		failed++
		if !errors.Is(err, errDisk) {
			t.Fatalf("call %d: %v", call, err)
		}
		d := openDirectory(t, mem)
		all := d.All()
		if len(all) > 1 {
			t.Fatal(all)
		}
		if len(all) == 1 && readState(t, d, all[0]) != "state" {
			t.Fatal("half a snapshot")
		}
	}
	if failed < 5 {
		t.Fatal("only", failed, "failures")
	}
}

func publishOne(fs vfs.FS) error {
	d, err := OpenDirectory(fs, "host/snapshots")
	if err != nil {
		return err
	}
	p, err := d.Create()
	if err != nil {
		return err
	}
	w, err := NewWriter(p, testMeta(), WriterOptions{})
	if err == nil {
		var state io.Writer
		if state, err = w.State(); err == nil {
			_, err = fmt.Fprint(state, "state")
		}
		if err == nil {
			_, err = w.Close()
		}
	}
	if err != nil {
		return errors.Join(err, p.Abandon())
	}
	return d.Publish(Finished{p, Name{7, 2, 99}})
}
