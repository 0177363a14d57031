package comparison

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// sample is a report with something of everything: several repeats, reads, an open loop, a failure, a part that is not there yet, and
// a machine that moved.
func sample() *Report {
	began := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	result := func(engine string, rate, latency float64, set func(*benchmark.Result)) benchmark.Result {
		r := benchmark.Result{
			Engine: engine, LogDB: "none", Hosts: 3, Shards: 48, Payload: 16, InFlight: 10_000, WritesPerSecond: rate,
			WriteLatency:         benchmark.Latency{P50: latency, P99: 3 * latency, P999: 5 * latency, Max: 9 * latency},
			CPUSecondsPerMillion: 1e6 / rate, AllocsPerOp: 0.02, DiskBytesPerOp: 66, FsyncsPerThousandOps: 0.5, FlushesPerThousandOps: 0.4, PeakRSSMiB: 512,
			BatchSize: 200, YardstickFdatasyncP50: 300, YardstickCPULoop: 20,
		}
		set(&r)
		return r
	}
	plain := func(*benchmark.Result) {}
	subject := func(name string, repeats ...benchmark.Result) SubjectReport {
		median := benchmark.MedianOf(repeats)
		return SubjectReport{Name: name, LogDB: repeats[0].LogDB, Repeats: repeats, Median: &median}
	}
	onPebble := func(r *benchmark.Result) { r.LogDB = "pebble" }
	slowDisk := func(r *benchmark.Result) { r.YardstickFdatasyncP50, r.FsyncsPerThousandOps, r.BatchSize = 600, 0, 0 }
	reads := func(r *benchmark.Result) {
		r.ReadRatio, r.ReadsPerSecond, r.ReadLatency = 0.9, 9*r.WritesPerSecond, benchmark.Latency{P50: 1, P99: 2, P999: 3, Max: 4}
	}
	overloaded := func(r *benchmark.Result) {
		r.OfferedPerSecond, r.RefusedPerSecond, r.MissedPerSecond, r.ClientCPUShare, r.Busy = 9e6, 5e6, 10, 0.25, 5e7
	}
	one := func(r *benchmark.Result) { r.Shards, r.InFlight = 1, 2000 }
	r := &Report{
		Machine: Machine{"A processor", 2, 24, "linux 6.1", "ext2/ext3", "go1.26", 2},
		Commit:  "0123456789ab", Command: "make compare", Began: began, Ended: began.Add(90 * time.Minute),
		Cases: []CaseReport{
			{Row: "P1", Name: "P1", Title: "48 shards, 16 bytes, 10,000 in flight", Seconds: 10, Subjects: []SubjectReport{
				subject(Flotilla, result("flotilla", 4e6, 2, onPebble), result("flotilla", 4.2e6, 1.9, onPebble), result("flotilla", 3.9e6, 2.1, onPebble)),
				subject(Limit, result("limit", 7e6, 1.2, plain)),
				subject(Dragonboat, result("dragonboat", 2e5, 45, slowDisk)),
				{Name: dragonboatTan, Failures: []string{"exit status 1: it did\nnot start"}},
			}},
			{Row: "P3", Name: "P3", Title: "one shard, 16 bytes, 2,000 in flight", Seconds: 10, Subjects: []SubjectReport{
				subject(Flotilla, result("flotilla", 2e6, 1, one)), subject(Limit, result("limit", 2.1e6, 0.9, one)),
				subject(Dragonboat, result("dragonboat", 2.2e5, 6, one)),
			}},
			{Row: "P7", Name: "P7/index", Title: "reads", Seconds: 10, Subjects: []SubjectReport{
				subject(Flotilla, result("flotilla", 5e5, 5, reads)), subject(Dragonboat, result("dragonboat", 7e4, 34, reads)),
			}},
			{Row: "P9", Name: "P9", Title: "snapshots", Seconds: 10, Subjects: []SubjectReport{
				{Name: Flotilla, Unavailable: "flotilla takes no snapshots by itself"}, subject(Dragonboat, result("dragonboat", 1.8e5, 50, plain)),
			}},
			{Row: "P12", Name: "P12/2", Title: "overload", Seconds: 10, Subjects: []SubjectReport{subject(Flotilla, result("flotilla", 4e6, 20, overloaded))}},
		},
	}
	r.Judge(Rows())
	return r
}

// golden compares with a file of testdata, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; see it with: go test ./comparison -rewrite && git diff\n%s", path, got)
	}
}

func TestMarkdown(t *testing.T) {
	var out bytes.Buffer
	if err := sample().WriteMarkdown(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.md", out.Bytes())
}

func TestHTML(t *testing.T) {
	var out bytes.Buffer
	if err := sample().WriteHTML(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.html", out.Bytes())
	page := strings.ReplaceAll(out.String(), `xmlns="http://www.w3.org/2000/svg"`, "")
	for _, outside := range []string{"http:", "https:", "src=", "<link", "<script", "url("} {
		if strings.Contains(page, outside) {
			t.Errorf("the page needs something from outside: %q", outside)
		}
	}
	if drawn := strings.Count(page, "<svg"); drawn != 3 {
		t.Errorf("%d charts", drawn)
	}
}

func TestReportsThatCannotBeWritten(t *testing.T) {
	for _, write := range []func(io.Writer) error{sample().WriteMarkdown, sample().WriteHTML} {
		if err := write(fullWriter{}); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("got %v", err)
		}
	}
	if err := sample().WriteJSON(t.TempDir()); err == nil {
		t.Error("a directory was written to as a file")
	}
}

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// TestReportSurvivesJSON reads back what was written, so that a page can be made of it later.
func TestReportSurvivesJSON(t *testing.T) {
	name := filepath.Join(t.TempDir(), "report.json")
	if err := sample().WriteJSON(name); err != nil {
		t.Fatal(err)
	}
	got, err := ReadJSON(name)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, sample()) {
		t.Errorf("got %+v", got)
	}
	if err := os.WriteFile(name, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadJSON(name); err == nil {
		t.Error("half a report was read")
	}
	if _, err := ReadJSON(name + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestUpdatePage(t *testing.T) {
	name := filepath.Join(t.TempDir(), "page.md")
	text := "# Title\n\nbefore\n" + pageBegin + "\nold\n" + pageEnd + "\nafter\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time changes nothing
		if err := sample().UpdatePage(name); err != nil {
			t.Fatal(err)
		}
	}
	var table strings.Builder
	if err := sample().WriteMarkdown(&table); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(text, "old\n", table.String(), 1); string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := os.WriteFile(name, []byte("nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sample().UpdatePage(name); !errors.Is(err, errPage) {
		t.Errorf("got %v", err)
	}
}

func TestVerdicts(t *testing.T) {
	for _, test := range []struct {
		target Target
		want   string
	}{
		{atLeast("P1", rate, 0.5, Limit), Met},
		{atLeast("P1", rate, 0.9, Limit), Missed},
		{atLeast("P1", rate, 1, Dragonboat), NotComparable},
		{atLeast("P1", rate, 1, dragonboatTan), PeerFailed},
		{atLeast("P1", rate, 1, Hashicorp), NotMeasured},
		{atLeast("P9", rate, 1, Dragonboat), NotMeasured},
		{atLeast("P4", rate, 1, Dragonboat), NotMeasured},
		{plus(atMost("P3", p50, 1, Limit), 0.1), Met},
		{plus(atMost("P3", p50, 1, Limit), 0.05), Missed},
		{atMost("P3", p50, 1, ""), Met},
		{ofCase(atLeast("P12/2", rate, 1, Flotilla), "P1"), Met},
		{ofCase(atLeast("P12/2", rate, 1, Flotilla), "P2"), NotMeasured},
		{atLeast("P7/index", operations, 7, Dragonboat), Met},
	} {
		if got := sample().judge("row", test.target); got.Verdict != test.want {
			t.Errorf("%s of %s: %s, want %s (%+v)", test.target, test.target.Case, got.Verdict, test.want, got)
		}
	}
	failed := &Report{Cases: []CaseReport{{Name: "P1", Subjects: []SubjectReport{{Name: Flotilla, Failures: []string{"x"}}}}}}
	if got := failed.judge("P1", atMost("P1", "errors", 0, "")); got.Verdict != Missed {
		t.Errorf("Flotilla did not get there: %s", got.Verdict)
	}
}

// TestRun runs a row with a program that is no harness: every turn fails, and says why.
func TestRun(t *testing.T) {
	var out strings.Builder
	report := &Report{}
	checkpoints := 0
	err := Run(context.Background(), Options{
		Rows: []string{"P7", "P9"}, Quick: true, Program: []string{"go", "no-such-command"}, Engines: knownEngines(false), Data: t.TempDir(), Out: &out,
		Checkpoint: func(*Report) error { checkpoints++; return nil },
	}, report)
	if !errors.Is(err, ErrFailed) {
		t.Errorf("got %v", err)
	}
	if len(report.Cases) != 3 || checkpoints != 3 {
		t.Fatalf("%d cases, %d checkpoints\n%s", len(report.Cases), checkpoints, out.String())
	}
	if s := report.Cases[0].Subjects[0]; s.Median != nil || len(s.Failures) != 1 || !strings.Contains(s.Failures[0], "no-such-command") {
		t.Errorf("got %+v", s)
	}
	if s := report.Cases[2].Subjects[0]; !strings.Contains(s.Unavailable, "takes no snapshots by itself") || s.Failures != nil {
		t.Errorf("got %+v", s)
	}
	if err := Run(context.Background(), Options{Rows: []string{"P0"}, Out: &out, Data: t.TempDir()}, report); !errors.Is(err, errRows) {
		t.Errorf("got %v", err)
	}
}

func TestThisMachine(t *testing.T) {
	if m := ThisMachine(t.TempDir()); m.Cores == 0 || m.GOMAXPROCS == 0 || m.Go == "" || strings.Contains(m.String(), "\n") {
		t.Errorf("got %v", m)
	}
	if got := after([]byte("a: 1\nmodel name\t: X 1\n"), "model name", "unknown"); got != "X 1" {
		t.Errorf("got %q", got)
	}
}
