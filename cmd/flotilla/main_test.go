package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/internal/leaktest"
	"github.com/flotilla-raft/flotilla/internal/spantest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// command runs a command line and returns what it printed and its exit code.
func command(arguments ...string) (out, errOut string, code int) {
	var stdout, stderr strings.Builder
	code = run(context.Background(), arguments, &stdout, &stderr)
	return stdout.String(), stderr.String(), code
}

// short makes a benchmark of the limit that ends at once.
func short(t *testing.T, more ...string) []string {
	return append([]string{
		"bench", "--engine", "limit", "--shards", "2", "--in-flight", "10", "--duration", "200ms", "--warmup", "0s", "--data", t.TempDir(),
	}, more...)
}

func TestVersion(t *testing.T) {
	out, errOut, code := command("version")
	if code != exitOK || !strings.HasPrefix(out, "flotilla ") || errOut != "" {
		t.Fatalf("code %d, %q, %q", code, out, errOut)
	}
}

func TestBench(t *testing.T) {
	spantest.Run(t, 200*time.Millisecond, func(span time.Duration) (lacking string) {
		report := filepath.Join(t.TempDir(), "report.json")
		out, errOut, code := command(short(t, "--json", report, "--require", "errors==0", "--blocking", "--duration", span.String())...)
		if code != exitOK || errOut != "" {
			t.Fatalf("code %d, %q\n%s", code, errOut, out)
		}
		for _, want := range []string{"check: all 6 replicas agree", "MET     errors==0"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
		if !strings.Contains(out, "writes_per_second") { // a figure that is 0 has no line
			return "nothing is measured\n" + out
		}
		return ""
	})
}

func TestLostAndDoubledCommandsEndWithOne(t *testing.T) {
	for _, fault := range []string{"lose", "double"} {
		spantest.Run(t, 200*time.Millisecond, func(span time.Duration) (lacking string) {
			out, errOut, code := command(short(t, "--inject", fault, "--duration", span.String())...)
			if code != exitFailed || !strings.Contains(out, "CHECK: ") {
				return fmt.Sprintf("%s: code %d, %q\n%s", fault, code, errOut, out)
			}
			return ""
		})
	}
}

func TestMissedRequirementEndsWithOne(t *testing.T) {
	out, _, code := command(short(t, "--require", "writes_per_second>=1e12")...)
	if code != exitFailed || !strings.Contains(out, "MISSED  writes_per_second>=1e+12") {
		t.Fatalf("code %d\n%s", code, out)
	}
}

func TestWrongCommandLinesEndWithThree(t *testing.T) {
	for _, test := range []struct {
		arguments []string
		want      []string
	}{
		{[]string{"bench", "--hosts", "x", "--shards", "0"}, []string{"--hosts", "from 1 to 9", "--shards", "from 1 to 100000"}},
		{[]string{"bench", "--blocking=perhaps"}, []string{"--blocking", "true or false"}},
		{[]string{"bench", "--engine", "nonsense"}, []string{"--engine", "limit"}},
		{[]string{"bench", "--nonsense"}, []string{"--nonsense"}},
		{[]string{"bench", "--hosts"}, []string{"--hosts"}},
		{[]string{"bench", "more"}, []string{"more"}},
		{[]string{"version", "more"}, []string{"more"}},
		{[]string{"nonsense"}, []string{"nonsense"}},
		{[]string{"log", "nonsense"}, []string{"nonsense", "flotilla log"}},
		{[]string{"snapshot", "nonsense"}, []string{"nonsense", "flotilla snapshot"}},
	} {
		out, errOut, code := command(test.arguments...)
		if code != exitUsage {
			t.Errorf("%v: code %d\n%s", test.arguments, code, out)
		}
		for _, want := range test.want {
			if !strings.Contains(errOut, want) {
				t.Errorf("%v: no %q in %q", test.arguments, want, errOut)
			}
		}
	}
}

func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{failure{errors.New("any")}, 1},
		{failure{fmt.Errorf("%w: more", benchmark.ErrCheck)}, 1},
		{failure{fmt.Errorf("%w: more", benchmark.ErrRequirement)}, 1},
		{failure{fmt.Errorf("%w: more", benchmark.ErrNotComparable)}, 2},
		{failure{fmt.Errorf("%w: more", benchmark.ErrConfig)}, 3},
		{errors.New("unknown flag"), 3},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("%v: code %d, want %d", test.err, got, test.want)
		}
	}
}

func TestFaultFlagIsHidden(t *testing.T) {
	out, _, code := command("bench", "--help")
	if code != exitOK || strings.Contains(out, "--inject") || !strings.Contains(out, "--in-flight") {
		t.Fatalf("code %d\n%s", code, out)
	}
}
