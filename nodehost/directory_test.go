package nodehost_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/transport"
)

func TestOnlyOneHostHasADirectory(t *testing.T) {
	c := newCluster(t, 2)
	c.start(0)
	config := c.config(1)
	config.Dir = c.dirs[0]
	if _, err := nodehost.New(config); !errors.Is(err, nodehost.ErrDirectoryLocked) {
		t.Fatalf("a second host on the directory: %v", err)
	}
	c.stop(0)
	c.start(0) // closing has set it free, and the refused one did not harm it
}

func TestADirectoryKnowsItsHost(t *testing.T) {
	c := newCluster(t, 2)
	c.start(0)
	first := c.hosts[0].Info().Identity
	c.stop(0)
	for field, change := range map[string]func(*nodehost.Config){
		"Deployment": func(c *nodehost.Config) { c.Deployment = "another" },
		"Address":    func(config *nodehost.Config) { config.Address = c.addresses[1] },
	} {
		config := c.config(0)
		change(&config)
		_, err := nodehost.New(config)
		var mismatch *nodehost.IdentityMismatch
		if !errors.Is(err, nodehost.ErrIdentityMismatch) || !errors.As(err, &mismatch) || mismatch.Field != field {
			t.Errorf("%s: %v", field, err)
		} else if mismatch.Stored == mismatch.Configured || mismatch.Path != filepath.Join(c.dirs[0], "identity") {
			t.Errorf("%s: %+v", field, mismatch)
		}
	}
	c.start(0)
	second := c.hosts[0].Info().Identity
	if second.HostID != first.HostID || second.Epoch != first.Epoch+1 {
		t.Fatalf("first %+v, then %+v", first, second)
	}
}

func TestADamagedDirectoryIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		harm func(dir string) error
		want error
	}{
		"identity cut": {
			func(dir string) error { return os.Truncate(filepath.Join(dir, "identity"), 10) }, nodehost.ErrIdentityDamaged,
		},
		"identity too long": {
			func(dir string) error { return os.Truncate(filepath.Join(dir, "identity"), 1<<20) }, nodehost.ErrIdentityDamaged,
		},
		"identity missing": {
			func(dir string) error { return os.Remove(filepath.Join(dir, "identity")) }, nodehost.ErrIdentityDamaged,
		},
		"promises foreign": {
			func(dir string) error {
				return os.WriteFile(filepath.Join(dir, "promises"), []byte("something else"), 0o644)
			},
			nodehost.ErrPromisesDamaged,
		},
	} {
		c := newCluster(t, 1)
		c.start(0)
		c.stop(0)
		if err := test.harm(c.dirs[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := nodehost.New(c.config(0)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The epoch of a start is durable before the transport is made, which is before anything can be sent.
func TestEpochIsDurableBeforeAnythingIsSent(t *testing.T) {
	fs := vfs.NewCrashableMem()
	refused := errors.New("refused")
	var crashed *vfs.MemFS
	config := nodehost.Config{
		Dir: "/data/host", Address: "host:1", FS: fs,
		Transport: func(c nodehost.TransportContext) (transport.Transport, error) {
			crashed = fs.CrashClone(vfs.CrashCloneCfg{})
			return nil, refused
		},
	}
	var epochs []uint64
	for range 3 {
		if _, err := nodehost.New(config); !errors.Is(err, refused) {
			t.Fatal(err)
		}
		fs = crashed
		config.FS = fs
		seen := config
		seen.FS = crashed.CrashClone(vfs.CrashCloneCfg{})
		seen.Transport = func(c nodehost.TransportContext) (transport.Transport, error) {
			epochs = append(epochs, c.Identity.Epoch)
			return nil, refused
		}
		if _, err := nodehost.New(seen); !errors.Is(err, refused) {
			t.Fatal(err)
		}
	}
	for i, epoch := range epochs {
		if want := uint64(i + 2); epoch != want {
			t.Fatalf("epochs after a power cut are %v", epochs)
		}
	}
}

func TestAHostThatCannotOpenLetsGoOfEverything(t *testing.T) {
	c := newCluster(t, 1)
	refused := errors.New("refused")
	for name, change := range map[string]func(*nodehost.Config){
		"log store": func(config *nodehost.Config) {
			config.LogDB = func(nodehost.LogDBContext) (logdb.LogDB, error) { return nil, refused }
		},
		"transport": func(config *nodehost.Config) {
			config.Transport = func(nodehost.TransportContext) (transport.Transport, error) { return nil, refused }
		},
		"every sync": func(config *nodehost.Config) {
			config.FS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind == errorfs.OpFileSync {
					return refused
				}
				return nil
			}))
		},
	} {
		config := c.config(0)
		change(&config)
		if _, err := nodehost.New(config); !errors.Is(err, refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.start(0)
	config := c.config(0)
	config.Dir = filepath.Join(t.TempDir(), "other")
	if _, err := nodehost.New(config); err == nil {
		t.Error("two hosts listen on one address")
	}
}
