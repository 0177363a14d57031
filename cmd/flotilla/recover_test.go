package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestRecoverMakesASurvivorTheOnlyMember(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	host := writeHost(t, dir, "pebble", 3)
	if _, errOut, code := command("recover", "--data", dir, "--shard", "7"); code != exitFailed || !strings.Contains(errOut, "in use") {
		t.Errorf("of a running host: code %d, %q", code, errOut)
	}
	if err := host.Close(); err != nil {
		t.Fatal(err)
	}
	if _, errOut, code := command("recover", "--data", dir, "--shard", "8"); code != exitFailed || !strings.Contains(errOut, "shard 8") {
		t.Errorf("of an unknown shard: code %d, %q", code, errOut)
	}
	out, errOut, code := command("recover", "--data", dir, "--shard", "7")
	if code != exitOK || !strings.Contains(out, "shard 7 goes on with replica 2 alone") {
		t.Errorf("code %d, %q, %q", code, out, errOut)
	}
	for _, wrong := range [][]string{{"recover"}, {"recover", "--data", dir}, {"recover", "--shard", "7"}, {"recover", "more"}} {
		if _, _, code := command(wrong...); code != exitUsage {
			t.Errorf("%v: code %d", wrong, code)
		}
	}
}
