package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func digest(t *testing.T, events ...string) (*summary, string) {
	t.Helper()
	var out strings.Builder
	s := newSummary(&out)
	if err := s.read(strings.NewReader(strings.Join(events, "\n") + "\n")); err != nil {
		t.Fatal(err)
	}
	return s, out.String()
}

func TestSummaryCountsTestsAndKeepsClosingLines(t *testing.T) {
	s, out := digest(t,
		`{"Action":"start","Package":"p"}`,
		`{"Action":"output","Package":"p","Test":"TestA","Output":"noise of a test that passes\n"}`,
		`{"Action":"pass","Package":"p","Test":"TestA/sub"}`,
		`{"Action":"pass","Package":"p","Test":"TestA"}`,
		`{"Action":"skip","Package":"p","Test":"TestB"}`,
		`{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}`,
		`{"Action":"pass","Package":"p"}`,
		`{"Action":"output","Package":"q","Output":"?   \tq\t[no test files]\n"}`,
		`{"Action":"skip","Package":"q"}`,
		`{"Action":"output","Package":"r","Output":"ok  \tr\t0.1s [no tests to run]\n"}`,
		`{"Action":"pass","Package":"r"}`,
	)
	if want := (count{passed: 2, skipped: 1}); s.count != want {
		t.Errorf("counted %v, want %v", s.count, want)
	}
	if want := "ok  \tp\t0.1s\n"; out != want {
		t.Errorf("printed %q, want %q", out, want)
	}
}

func TestSummaryShowsWhatFailed(t *testing.T) {
	s, out := digest(t,
		`{"Action":"output","Package":"p","Test":"TestA","Output":"the reason\n"}`,
		`{"Action":"output","Package":"p","Test":"TestB","Output":"no reason\n"}`,
		`{"Action":"pass","Package":"p","Test":"TestB"}`,
		`{"Action":"fail","Package":"p","Test":"TestA"}`,
		`{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}`,
		`{"Action":"fail","Package":"p"}`,
		`{"Action":"build-output","ImportPath":"q","Output":"q.go:1: wrong\n"}`,
		`{"Action":"output","Package":"q","Output":"FAIL\tq [build failed]\n"}`,
		`{"Action":"fail","Package":"q"}`,
		`a line of the go command itself`,
	)
	if want := (count{passed: 1, failed: 2}); s.count != want {
		t.Errorf("counted %v, want %v", s.count, want)
	}
	if got := strings.Join(s.failed, ","); got != "p TestA,q" {
		t.Errorf("failed: %s", got)
	}
	for _, want := range []string{"the reason", "q.go:1: wrong", "[build failed]", "a line of the go command itself"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing from %q", want, out)
		}
	}
	if strings.Contains(out, "no reason") {
		t.Errorf("output of a test that passed was printed: %q", out)
	}
}

func TestSummaryShowsWhatWasCutShort(t *testing.T) {
	s, out := digest(t,
		`{"Action":"output","Package":"p","Test":"TestA","Output":"panic: test timed out\n"}`,
		`{"Action":"output","Package":"q","Test":"TestB","Output":"another package\n"}`,
		`{"Action":"output","Package":"p","Output":"FAIL\tp\t9s\n"}`,
		`{"Action":"fail","Package":"p"}`,
	)
	if want := (count{failed: 1}); s.count != want {
		t.Errorf("counted %v, want %v", s.count, want)
	}
	if !strings.Contains(out, "timed out") || strings.Contains(out, "another package") {
		t.Errorf("printed %q", out)
	}
}

// An example that ends in log.Fatal, or whoever calls os.Exit, takes the binary with it: the tests before it have passed or failed, and
// what they said last is shown beside the last words.
func TestSummaryShowsTheLastLinesOfABinaryThatDied(t *testing.T) {
	events := []string{
		`{"Action":"output","Package":"p","Test":"TestA","Output":"a reason of its own\n"}`,
		`{"Action":"fail","Package":"p","Test":"TestA"}`,
	}
	for range tailLength {
		events = append(events, `{"Action":"output","Package":"p","Test":"TestB","Output":"a line of B\n"}`)
	}
	s, out := digest(t, append(events,
		`{"Action":"output","Package":"p","Test":"TestB","Output":"the host lost its leader\n"}`,
		`{"Action":"pass","Package":"p","Test":"TestB"}`,
		`{"Action":"output","Package":"p","Test":"ExampleC","Output":"=== RUN   ExampleC\n"}`,
		`{"Action":"output","Package":"p","Test":"ExampleC","Output":"2026/11/22 03:12:13 flotilla: busy\n"}`,
		`{"Action":"output","Package":"p","Output":"FAIL\tp\t9s\n"}`,
		`{"Action":"fail","Package":"p"}`,
	)...)
	if want := (count{passed: 1, failed: 2}); s.count != want {
		t.Errorf("counted %v, want %v", s.count, want)
	}
	if got := strings.Join(s.failed, ","); got != "p TestA,p ExampleC" {
		t.Errorf("failed: %s", got)
	}
	died := out[strings.Index(out, "before that"):]
	if strings.Count(died, "a line of B\n") != tailLength-3 || !strings.Contains(died, "the host lost its leader\ncut short: p ExampleC\n") ||
		strings.Count(died, "flotilla: busy\n") != 1 || strings.Contains(died, "a reason of its own") {
		t.Errorf("printed %q", out)
	}
}

func TestSummaryAppendsToReport(t *testing.T) {
	s, _ := digest(t, `{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}`, `{"Action":"pass","Package":"p","Test":"TestA"}`)
	path := filepath.Join(t.TempDir(), "report")
	for range 2 {
		if err := s.append(path); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	once := "ok  \tp\t0.1s\ncounted 1 passed, 0 failed, 0 skipped\n"
	if string(got) != once+once {
		t.Errorf("report holds %q", got)
	}
}

func TestRunRefusesWhatTestsNothing(t *testing.T) {
	var out strings.Builder
	if err := run("none", "", []string{"-run", "^$", "./does-not-exist"}, &out); err == nil {
		t.Error("a run of a package that does not exist succeeded")
	}
}
