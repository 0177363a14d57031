package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func TestSimExitCodes(t *testing.T) {
	cases := []struct {
		name      string
		arguments []string
		code      int
		says      string
	}{
		{"one seed", []string{"--seed", "4", "--profile", "calm", "--duration", "2s"}, exitOK, "seed 4:"},
		{"a range", []string{"--seeds", "1..2", "--profile", "crashy", "--duration", "2s", "--hosts", "3", "--shards", "2"}, exitOK, "2 seeds"},
		{"without a fault", []string{"--profile", "crashy", "--duration", "2s", "--without", "crash,power-loss"}, exitOK, " crash=0 "},
		{"rare events", []string{"--profile", "crashy", "--duration", "1s", "--require-all"}, exitFailed, "never occurred"},
		{"budget", []string{"--seeds", "1..1000000", "--budget", "1ns"}, exitNotComparable, "budget"},
		{"unknown profile", []string{"--profile", "rough"}, exitUsage, "rough"},
		{"unknown fault", []string{"--without", "rain"}, exitUsage, "rain"},
		{"too many hosts", []string{"--hosts", "8"}, exitUsage, "Hosts"},
		{"no range", []string{"--seeds", "7"}, exitUsage, "A..B"},
		{"range backwards", []string{"--seeds", "7..6"}, exitUsage, "A..B"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			if code := run(context.Background(), append([]string{"sim"}, c.arguments...), &out, &errOut); code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, errOut.String())
			}
			if said := out.String() + errOut.String(); !strings.Contains(said, c.says) {
				t.Errorf("%q is not in: %s", c.says, said)
			}
		})
	}
}
