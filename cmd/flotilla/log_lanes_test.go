package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
)

// lanesHost is the data of a host whose log has lanes in b and c beside its data directory.
type lanesHost struct {
	t    *testing.T
	root string
}

func writeLanesHost(t *testing.T) *lanesHost {
	t.Helper()
	h := &lanesHost{t, filepath.Join(t.TempDir(), "here")}
	open := nodehost.SegmentedLog(seglog.Options{Directories: []string{h.path("b"), h.path("c")}, SegmentBytes: seglog.MinSegmentBytes})
	if err := os.MkdirAll(h.root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeHostOn(t, h.path("host"), open, 3).Close(); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *lanesHost) path(name string) string { return filepath.Join(h.root, name) }

func (h *lanesHost) move(from, to string) {
	h.t.Helper()
	if err := os.Rename(from, to); err != nil {
		h.t.Fatal(err)
	}
}

// all runs each of the three commands and wants them to find all that there is.
func (h *lanesHost) all(more ...string) {
	h.t.Helper()
	for want, arguments := range map[string][]string{
		"2 voter at 127.":           {"log", "inspect", h.path("host")},
		": 1 replicas, ":            {"log", "verify", h.path("host")},
		"\tcommands\t\"command 0\"": {"log", "dump", h.path("host"), "--shard", "7", "--from", "1", "--to", "5"},
	} {
		out, errOut, code := command(append(arguments, more...)...)
		if code != exitOK || !strings.Contains(out, want) || strings.Contains(out, "DAMAGED") {
			h.t.Errorf("%q %q: code %d, %q, want %q in\n%s", arguments, more, code, errOut, want, out)
		}
		if strings.Contains(out, "bytes on disk") && strings.Count(out, "/c/") == 0 {
			h.t.Errorf("%q: not the segments of each lane\n%s", arguments, out)
		}
	}
}

// refused runs each of the commands and wants them to fail and to say so.
func (h *lanesHost) refused(want string, more ...string) {
	h.t.Helper()
	for _, sub := range []string{"inspect", "verify"} {
		out, errOut, code := command(append([]string{"log", sub, h.path("host")}, more...)...)
		if code != exitFailed || !strings.Contains(out+errOut, want) {
			h.t.Errorf("%s %q: code %d, want %q in %q\n%s", sub, more, code, want, errOut, out)
		}
	}
}

// The tools look at all lanes of a host, and change nothing.
func TestLogOfLanes(t *testing.T) {
	h := writeLanesHost(t)
	before := files(t, h.root)
	h.all()
	if after := files(t, h.root); !maps.Equal(before, after) {
		t.Errorf("files have changed: %d, there were %d", len(after), len(before))
	}
	for path, text := range before {
		if at := strings.Index(text, "command 1"); at >= 0 {
			damaged := []byte(text)
			damaged[at] ^= 1
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.refused("damaged")
}

// A host that was moved with its lanes is found as it is; one whose lanes were moved elsewhere, once they are named, in their order.
func TestLogOfMovedLanes(t *testing.T) {
	h := writeLanesHost(t)
	there := filepath.Join(filepath.Dir(h.root), "there")
	h.move(h.root, there)
	h.root = there
	h.all()
	h.move(h.path("b"), h.path("d"))
	h.refused("lane 1 is missing")
	h.all("--lane", h.path("d"), "--lane", h.path("c"))
	h.refused("is to be lane 1", "--lane", h.path("c"), "--lane", h.path("d"))
	if err := writeHost(t, filepath.Join(h.root, "host2"), "seglog", 1).Close(); err != nil {
		t.Fatal(err)
	}
	if _, errOut, code := command("log", "verify", h.root, "--lane", h.path("d")); code != exitUsage || !strings.Contains(errOut, "2 hosts") {
		t.Errorf("of two hosts: code %d, %q", code, errOut)
	}
}
