package overlayfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

func write(t rapid.TB, fs vfs.FS, name, content string) {
	t.Helper()
	file, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
}

func read(fs vfs.FS, name string) (string, error) {
	file, err := fs.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(file)
	return string(content), err
}

// snapshot returns names and contents of all files in a flat directory.
func snapshot(t rapid.TB, fs vfs.FS, directory string) (content []string) {
	t.Helper()
	names, err := fs.List(directory)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range names {
		text, err := read(fs, fs.PathJoin(directory, name))
		if err != nil {
			t.Fatal(name, err)
		}
		content = append(content, fmt.Sprintf("%s=%s", name, text))
	}
	return content
}

// TestAgreesWithAFileSystemOfItsOwn makes the same random calls on an overlay and on a plain file system with the same
// files: both look the same afterwards, and the one below the overlay has not changed.
func TestAgreesWithAFileSystemOfItsOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		below, plain := vfs.NewMem(), vfs.NewMem()
		for _, fs := range []vfs.FS{below, plain} {
			if err := fs.MkdirAll("dir", 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, fs, "dir/a", "content of a")
			write(t, fs, "dir/b", "content of b")
		}
		before := snapshot(t, below, "dir")
		overlay := New(below)
		name := func(label string) string {
			return "dir/" + rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, label)
		}
		for range rapid.IntRange(1, 12).Draw(t, "calls") {
			call := rapid.IntRange(0, 6).Draw(t, "call")
			one, two, text := name("one"), name("two"), rapid.StringN(0, 5, -1).Draw(t, "text")
			var errs [2]error
			for i, fs := range []vfs.FS{overlay, plain} {
				switch call {
				case 0:
					write(t, fs, one, text)
				case 1:
					errs[i] = fs.Remove(one)
				case 2:
					errs[i] = fs.Rename(one, two)
				case 3:
					var file vfs.File
					if file, errs[i] = fs.OpenReadWrite(one, vfs.WriteCategoryUnspecified); errs[i] == nil {
						_, errs[i] = file.WriteAt([]byte(text), 1)
						errs[i] = errors.Join(errs[i], file.Close())
					}
				case 4:
					_, errs[i] = read(fs, one)
				case 5:
					_, errs[i] = fs.Stat(one)
				case 6:
					errs[i] = fs.Link(one, two)
				}
			}
			if (errs[0] == nil) != (errs[1] == nil) || errors.Is(errs[0], fs.ErrNotExist) != errors.Is(errs[1], fs.ErrNotExist) {
				t.Fatalf("call %d on %s, %s: overlay %v, plain %v", call, one, two, errs[0], errs[1])
			}
			if got, want := snapshot(t, overlay, "dir"), snapshot(t, plain, "dir"); !slices.Equal(got, want) {
				t.Fatalf("overlay has %q, want %q", got, want)
			}
			if after := snapshot(t, below, "dir"); !slices.Equal(after, before) {
				t.Fatalf("below is %q, was %q", after, before)
			}
		}
	})
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, arguments ...any) {
	panic(fmt.Sprintf(format, arguments...))
}

// TestPebbleRecoversOnIt opens a database that was not closed, on real files, and finds every file as it was.
func TestPebbleRecoversOnIt(t *testing.T) {
	directory := t.TempDir()
	db, err := pebble.Open(directory, &pebble.Options{Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := db.Set(fmt.Appendf(nil, "key%d", i), []byte("value"), pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	copied := t.TempDir() // as a kill would leave it
	names, err := vfs.Default.List(directory)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := vfs.Copy(vfs.Default, filepath.Join(directory, name), filepath.Join(copied, name)); err != nil {
			t.Fatal(err)
		}
	}
	before := snapshot(t, vfs.Default, copied)
	shown, err := pebble.Open(copied, &pebble.Options{FS: New(vfs.Default), Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, closer, err := shown.Get([]byte("key99")); err != nil {
		t.Fatal(err)
	} else if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := shown.Set([]byte("new"), []byte("value"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(shown.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	if after := snapshot(t, vfs.Default, copied); !slices.Equal(after, before) {
		t.Fatal("files have changed")
	}
}

func TestLockIsTakenBelow(t *testing.T) {
	directory := t.TempDir()
	name := filepath.Join(directory, "lock")
	if closer, err := New(vfs.Default).Lock(name); err != nil || closer.Close() != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("a lock file was made")
	}
	held, err := vfs.Default.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(vfs.Default).Lock(name); err == nil {
		t.Fatal("a lock that is held was taken")
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDirectories(t *testing.T) {
	below := vfs.NewMem()
	if err := below.MkdirAll("host/log", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, below, "host/log/1", "one")
	overlay := New(below)
	if err := overlay.MkdirAll("host/log/new/er", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, overlay, "host/log/new/er/2", "two")
	if names, err := overlay.List("host/log"); err != nil || !slices.Equal(names, []string{"1", "new"}) {
		t.Fatal(names, err)
	}
	if directory, err := overlay.OpenDir("host/log"); err != nil || directory.Sync() != nil || directory.Close() != nil {
		t.Fatal(err)
	}
	if _, err := overlay.OpenDir("host/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if _, err := overlay.Create("host/none/file", vfs.WriteCategoryUnspecified); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := overlay.RemoveAll("host/log"); err != nil {
		t.Fatal(err)
	}
	if _, err := overlay.List("host/log"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if text, err := read(below, "host/log/1"); err != nil || text != "one" {
		t.Fatal(text, err)
	}
	if _, err := New(vfs.Default).GetDiskUsage(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if overlay.Unwrap() != nil || overlay.PathBase("a/b") != "b" || overlay.PathDir("a/b") != "a" || overlay.PathJoin("a", "b") != "a/b" {
		t.Fatal("paths, or a way to the file system below")
	}
}
