package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/internal/loopback"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
	"github.com/flotilla-raft/flotilla/rsm"
)

type counter struct{ applied uint64 }

func (c *counter) Update(entries []rsm.Entry) error {
	for i := range entries {
		c.applied++
		entries[i].Result.Value = c.applied
	}
	return nil
}
func (c *counter) Lookup(any) (any, error) { return c.applied, nil }
func (c *counter) Close() error            { return nil }

// logDBs are the log stores that a host may have, by name.
var logDBs = map[string]func(nodehost.LogDBContext) (logdb.LogDB, error){
	"seglog": nodehost.SegmentedLog(seglog.Options{}), "pebble": nodehost.PebbleLog(pebblelog.Options{}),
}

// writeHost makes the data of a host with one shard and n commands, and returns a running host.
func writeHost(t *testing.T, dir, logDB string, n int) *nodehost.NodeHost {
	t.Helper()
	return writeHostOn(t, dir, logDBs[logDB], n)
}

func writeHostOn(t *testing.T, dir string, open func(nodehost.LogDBContext) (logdb.LogDB, error), n int) *nodehost.NodeHost {
	t.Helper()
	addresses, err := loopback.Addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	address := addresses[0]
	host, err := nodehost.New(nodehost.Config{Dir: dir, Address: address, ElectionTimeout: 100 * time.Millisecond, LogDB: open})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	replica := nodehost.ReplicaConfig{ShardID: 7, ReplicaID: 2, Members: map[uint64]string{2: address}}
	if err := host.StartReplica(ctx, replica, func(uint64, uint64) (rsm.StateMachine, error) { return &counter{}, nil }); err != nil {
		t.Fatal(err)
	}
	shard, err := host.Shard(7)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; {
		if _, err := shard.Propose(ctx, fmt.Appendf(nil, "command %d", i)); err == nil {
			i++
		} else if nodehost.MaybeApplied(err) {
			t.Fatal(err)
		}
	}
	return host
}

// files returns names, sizes and contents of all files below a directory.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	content := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		content[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestLog(t *testing.T) {
	for logDB := range logDBs {
		t.Run(logDB, func(t *testing.T) { testLog(t, logDB) })
	}
}

func testLog(t *testing.T, logDB string) {
	dir := t.TempDir()
	host := writeHost(t, filepath.Join(dir, "host"), logDB, 3)
	if _, errOut, code := command("log", "verify", dir); code != exitFailed || !strings.Contains(errOut, "in use") {
		t.Fatalf("of a running host: code %d, %q", code, errOut)
	}
	shard, err := host.Shard(7)
	if err != nil {
		t.Fatal(err)
	}
	_, leads, _ := shard.Leader() // on a slow disk not the first term
	term := fmt.Sprint("term ", leads)
	if err := host.Close(); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	out, errOut, code := command("log", "inspect", dir)
	wanted, onDisk := []string{"deployment \"flotilla\"", "log store " + logDB, "2 voter at 127."}, 0
	for path, text := range before { // opening the store to look at it makes other segments, in memory: those on disk are listed all the same
		if filepath.Base(filepath.Dir(path)) == "log" {
			onDisk += len(text)
			if filepath.Ext(path) == ".seg" {
				wanted = append(wanted, "  "+filepath.Base(path)+"\t")
			}
		}
	}
	for _, want := range append(wanted, fmt.Sprintf("  %d bytes on disk", onDisk)) {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("inspect: code %d, %q, no %q in\n%s", code, errOut, want, out)
		}
	}
	out, errOut, code = command("log", "verify", filepath.Join(dir, "host"))
	if code != exitOK || !strings.Contains(out, ": 1 replicas, ") || strings.Contains(out, "DAMAGED") {
		t.Errorf("verify: code %d, %q\n%s", code, errOut, out)
	}
	out, errOut, code = command("log", "dump", dir, "--shard", "7", "--from", "1", "--to", "5")
	for _, want := range []string{
		"1\t" + term + "\tmembership", "2\t" + term + "\tno-op", "3\t" + term + "\tcommands\t\"command 0\"", "5\t" + term + "\tcommands\t\"command 2\"",
	} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("dump: code %d, %q, no %q in\n%s", code, errOut, want, out)
		}
	}
	if after := files(t, dir); len(after) != len(before) {
		t.Errorf("%d files, there were %d", len(after), len(before))
	} else {
		for path, text := range before {
			if after[path] != text {
				t.Errorf("%s has changed", path)
			}
		}
	}
}

func TestLogEndsWithOneForWhatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	if err := writeHost(t, filepath.Join(dir, "host"), "seglog", 1).Close(); err != nil {
		t.Fatal(err)
	}
	for want, arguments := range map[string][]string{
		"no host's data":  {"log", "inspect", filepath.Join(dir, "host", "log")},
		"shard 8":         {"log", "dump", dir, "--shard", "8"},
		"the log ends at": {"log", "dump", dir, "--shard", "7", "--to", "1000"},
	} {
		out, errOut, code := command(arguments...)
		if code != exitFailed || !strings.Contains(errOut, want) || strings.Contains(errOut, "flotilla: flotilla:") {
			t.Errorf("%v: code %d, %q, want %q, once flotilla\n%s", arguments, code, errOut, want, out)
		}
	}
	for _, arguments := range [][]string{{"log", "dump", dir}, {"log", "dump", dir, "--shard", "7", "--from", "3", "--to", "2"}, {"log", "verify"}} {
		if _, _, code := command(arguments...); code != exitUsage {
			t.Errorf("%v: code %d, want %d", arguments, code, exitUsage)
		}
	}
}

// TestLogListsDamage flips a byte of a command in the log.
func TestLogListsDamage(t *testing.T) {
	for logDB := range logDBs {
		t.Run(logDB, func(t *testing.T) { testLogListsDamage(t, logDB) })
	}
}

func testLogListsDamage(t *testing.T, logDB string) {
	dir := t.TempDir()
	// Pebble takes damage near the end of its log for a torn end: what it writes says late what was synced before.
	if err := writeHost(t, dir, logDB, 30).Close(); err != nil {
		t.Fatal(err)
	}
	harmed := false
	for path, text := range files(t, dir) {
		if at := strings.Index(text, "command 3"); at >= 0 {
			harmed = true
			content := []byte(text)
			content[at] ^= 1
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !harmed {
		t.Fatal("no file holds the command")
	}
	for _, sub := range []string{"verify", "inspect"} {
		out, errOut, code := command("log", sub, dir)
		if code != exitFailed || !strings.Contains(out+errOut, "damaged") {
			t.Errorf("%s: code %d, %q\n%s", sub, code, errOut, out)
		}
	}
}

func TestProgressBar(t *testing.T) {
	var out bytes.Buffer
	clock := time.Unix(1000, 0)
	progress := progressBar(&out, "dir", func() time.Time { return clock })
	progress(0, 2, 100)
	progress(0, 2, 200) // too soon
	clock = clock.Add(time.Second)
	progress(1, 2, 3_000_000)
	progress(2, 2, 4_000_000)
	lines := strings.Split(strings.TrimPrefix(out.String(), "\r"), "\r")
	if len(lines) != 3 || !strings.Contains(lines[1], "1 of 2 replicas, 3.0 MB") || !strings.HasSuffix(lines[2], "4.0 MB\n") {
		t.Fatalf("%q", lines)
	}
	if newProgress(io.Discard, "dir") != nil {
		t.Fatal("a bar for something that is no terminal")
	}
}
