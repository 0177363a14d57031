package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestRepairMarksAReplicaOfAStoppedHost(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	host := writeHost(t, dir, "seglog", 1)
	if _, errOut, code := command("repair", "--data", dir, "--shard", "7"); code != exitFailed || !strings.Contains(errOut, "in use") {
		t.Errorf("of a running host: code %d, %q", code, errOut)
	}
	if err := host.Close(); err != nil {
		t.Fatal(err)
	}
	// A mark for a replica that is not here concerned nobody, and made the shard one of two replicas, of which one had to be named.
	if _, errOut, code := command("repair", "--data", dir, "--shard", "7", "--replica", "9"); code != exitFailed || !strings.Contains(errOut, "has replica 2 here") {
		t.Errorf("of a replica that is not here: code %d, %q", code, errOut)
	}
	out, errOut, code := command("repair", "--data", dir, "--shard", "7")
	if code != exitOK || !strings.Contains(out, "replica 2 of shard 7 will be rebuilt") {
		t.Errorf("code %d, %q, %q", code, out, errOut)
	}
	if _, errOut, code := command("repair", "--data", dir, "--shard", "8"); code != exitFailed || !strings.Contains(errOut, "shard 8") {
		t.Errorf("an unknown shard: code %d, %q", code, errOut)
	}
	for _, arguments := range [][]string{{"repair"}, {"repair", "--data", dir}, {"repair", "--shard", "7"}} {
		if _, _, code := command(arguments...); code != exitUsage {
			t.Errorf("%v: code %d", arguments, code)
		}
	}
}
