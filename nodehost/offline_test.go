package nodehost_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/nodehost"
)

// unsorted lists directories from behind, as a real one lists them in any order.
type unsorted struct{ vfs.FS }

func (u unsorted) List(dir string) ([]string, error) {
	names, err := u.FS.List(dir)
	slices.Sort(names)
	slices.Reverse(names)
	return names, err
}

// Hosts were found in the order in which the directory lists them, another one on each machine.
func TestHostsAreFoundInTheOrderOfTheirNames(t *testing.T) {
	files := vfs.NewMem()
	var want []string
	for _, name := range []string{"a", "b", "c"} {
		dir := filepath.Join("data", name)
		want = append(want, dir)
		if err := files.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		identity, err := files.Create(filepath.Join(dir, "identity"), "test")
		if err != nil {
			t.Fatal(err)
		}
		if err := identity.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := nodehost.FindHosts("data", unsorted{files}); err != nil || !slices.Equal(found, want) {
		t.Errorf("found %q, %v, want %q", found, err, want)
	}
}
