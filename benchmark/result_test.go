package benchmark

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestMedianIsTakenFigureByFigure(t *testing.T) {
	three := medianOf([]Result{
		{Engine: "a", WritesPerSecond: 3, WriteLatency: Latency{P50: 1}},
		{Engine: "a", WritesPerSecond: 1, WriteLatency: Latency{P50: 3}},
		{Engine: "a", WritesPerSecond: 2, WriteLatency: Latency{P50: 20}},
	})
	if three.Engine != "a" || three.WritesPerSecond != 2 || three.WriteLatency.P50 != 3 {
		t.Errorf("of three: %+v", three)
	}
	if two := medianOf([]Result{{Errors: 1}, {Errors: 4}}); two.Errors != 2.5 {
		t.Errorf("of two: %g", two.Errors)
	}
}

func TestYardsticksThatMoved(t *testing.T) {
	base := Yardsticks{FdatasyncP50: 300, StealPercent: 1, CPULoop: 20}
	for name, test := range map[string]struct {
		other Yardsticks
		want  int
	}{
		"equal":             {base, 0},
		"within 15 percent": {Yardsticks{344, 10, 23}, 0},
		"slower disk":       {Yardsticks{346, 1, 20}, 1},
		"faster disk":       {Yardsticks{250, 1, 20}, 1},
		"slower processor":  {Yardsticks{300, 1, 23.1}, 1},
		"stolen":            {Yardsticks{300, 17, 20}, 1},
		"all":               {Yardsticks{100, 40, 50}, 3},
	} {
		if got := base.moved(test.other); len(got) != test.want {
			t.Errorf("%s: %q, want %d", name, got, test.want)
		}
		if got := test.other.moved(base); len(got) != test.want {
			t.Errorf("%s, turned round: %q, want %d", name, got, test.want)
		}
	}
}

func TestYardsticksAreMeasured(t *testing.T) {
	directory := t.TempDir()
	y, err := measureYardsticks(directory)
	if err != nil || y.FdatasyncP50 <= 0 || y.CPULoop <= 0 {
		t.Fatalf("%+v, %v", y, err)
	}
	if entries, _ := os.ReadDir(directory); len(entries) != 0 {
		t.Fatalf("left behind: %v", entries)
	}
	if _, err := measureYardsticks(filepath.Join(directory, "absent")); err == nil {
		t.Fatal("a directory that does not exist was measured")
	}
}

func TestSyncTimeIsThatOfAQuietDevice(t *testing.T) {
	for name, test := range map[string]struct {
		rounds []time.Duration // the last one repeats
		want   time.Duration
		taken  int
	}{
		"steady":         {[]time.Duration{100}, 100, 3},
		"busy at first":  {[]time.Duration{500, 400, 300, 102, 100}, 100, 5},
		"one lucky":      {[]time.Duration{50, 100}, 50, yardstickRounds},
		"slow for ever":  {[]time.Duration{500, 510, 505}, 500, 3},
		"two of a kind":  {[]time.Duration{300, 100, 100}, 100, 3},
		"never settling": {[]time.Duration{1500, 1400, 1300, 1200, 1100, 1000, 900, 800, 700, 600, 500, 400, 300, 200, 100}, 100, 15},
	} {
		taken := 0
		got, err := leastSyncTime(func() (time.Duration, error) {
			taken++
			return test.rounds[min(taken, len(test.rounds))-1], nil
		})
		if err != nil || got != test.want || taken != test.taken {
			t.Errorf("%s: %d after %d rounds, %v; want %d after %d", name, got, taken, err, test.want, test.taken)
		}
	}
	if _, err := leastSyncTime(func() (time.Duration, error) { return 0, errFake }); err == nil {
		t.Error("a failed round passed")
	}
}

func TestSystemFilesAreRead(t *testing.T) {
	if got := parseProcessIO([]byte("rchar: 1\nwrite_bytes: 4096\ncancelled_write_bytes: 7\n")); got != 4096 {
		t.Errorf("write_bytes is %d", got)
	}
	if got := parseProcessIO([]byte("nothing\n")); got != 0 {
		t.Errorf("write_bytes is %d", got)
	}
	steal, idle, total := parseProcessorTicks([]byte("cpu  10 20 30 40 50 60 70 80 900 1000\ncpu0 1 1 1 1 1 1 1 1 1 1\n"))
	if steal != 80 || idle != 90 || total != 360 {
		t.Errorf("steal %d, idle %d of %d", steal, idle, total)
	}
	for _, text := range []string{"", "cpu 1 2\n", "cpu 1 2 3 4 5 6 7 x\n", "intr 1 2 3 4 5 6 7 8\n"} {
		if steal, idle, total := parseProcessorTicks([]byte(text)); steal != 0 || idle != 0 || total != 0 {
			t.Errorf("%q: steal %d, idle %d of %d", text, steal, idle, total)
		}
	}
	if got := parsePeakMemory([]byte("Name: x\nVmHWM:\t  2048 kB\nVmRSS: 1 kB\n")); got != 2 {
		t.Errorf("peak memory is %g MiB", got)
	}
	if got := parsePeakMemory([]byte("VmHWM:\n")); got != 0 {
		t.Errorf("peak memory is %g MiB", got)
	}
	if got := parseFlushes([]byte(" 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n")); got != 16 {
		t.Errorf("flushes are %d", got)
	}
	if got := parseFlushes([]byte("1 2 3\n")); got != 0 {
		t.Errorf("flushes are %d", got)
	}
	from, to := usage{steal: 10, ticks: 100}, usage{steal: 15, ticks: 200}
	if got := to.stealPercent(from); got != 5 {
		t.Errorf("steal is %g %%", got)
	}
	all := time.Duration(runtime.NumCPU()) * time.Second // of processor time
	began := time.Now()
	from = usage{ProcessUsage: ProcessUsage{At: began}, idle: 100, ticks: 1000}
	to = usage{ProcessUsage: ProcessUsage{At: began.Add(time.Second), CPU: all / 2}, idle: 120, ticks: 1100}
	if got := to.otherPercent(from); got < 29.9 || got > 30.1 {
		t.Errorf("of eight tenths that were busy this process had five: others %g %%", got)
	}
	to.CPU = all
	if got := to.otherPercent(from); got != 0 {
		t.Errorf("others had less than nothing: %g %%", got)
	}
	if got := from.otherPercent(from); got != 0 {
		t.Errorf("others in no time: %g %%", got)
	}
	if got := from.stealPercent(from); got != 0 {
		t.Errorf("steal of no time is %g %%", got)
	}
	if u := readUsage(); u.CPU <= 0 || u.allocs == 0 || u.At.IsZero() {
		t.Errorf("usage is %+v", u)
	}
}

func TestDataDirectory(t *testing.T) {
	asked := filepath.Join(t.TempDir(), "a", "b")
	d, err := openDirectory(asked)
	if err != nil || d.path != asked {
		t.Fatalf("%+v, %v", d, err)
	}
	path, err := d.run("x-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.run("x-1"); err == nil {
		t.Fatal("the data of an earlier run was taken for a new one")
	}
	if err := d.remove(); err == nil {
		t.Fatal("a directory that was asked for was removed with what someone has in it")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := d.remove(); err != nil {
		t.Fatal(err)
	}

	fresh, err := openDirectory("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.run("x-1"); err != nil {
		t.Fatal(err)
	}
	if err := fresh.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(fresh.path); err == nil {
		t.Fatal("the fresh directory is still there")
	}

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openDirectory(filepath.Join(file, "under")); err == nil {
		t.Fatal("a directory under a file was opened")
	}
}

func TestMemoryIsNoDisk(t *testing.T) {
	const shared = "/dev/shm"
	if !inMemory(shared) {
		t.Skip("no file system in memory here")
	}
	directory, err := os.MkdirTemp(shared, "flotilla-test-") //nolint:usetesting // it has to lie in memory, not where tests put theirs
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(directory)
	d, err := openDirectory(directory)
	if err != nil || !strings.Contains(d.warning, directory) {
		t.Fatalf("%+v, %v: no warning", d, err)
	}
	t.Setenv("TMPDIR", directory)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if inMemory(os.Getenv("XDG_CACHE_HOME")) {
		t.Skip("no disk here")
	}
	if fresh, err := openDirectory(""); err != nil || fresh.warning != "" {
		t.Fatalf("%+v, %v: memory was preferred to a disk", fresh, err)
	}
}

func TestFiguresForAReader(t *testing.T) {
	for value, want := range map[float64]string{
		0: "0", 0.123456: "0.123", 12.345: "12.3", 999: "999", 1000: "1,000", 123456.7: "123,457", 1234567: "1,234,567", -1234: "-1,234",
		-123456: "-123,456",
	} {
		if got := figure(value); got != want {
			t.Errorf("%g became %q, want %q", value, got, want)
		}
	}
}

func TestSummary(t *testing.T) {
	medians := []Result{
		{Engine: "a", Hosts: 3, Shards: 48, WritesPerSecond: 100, Busy: 7},
		{Engine: "b", Hosts: 3, Shards: 48, WritesPerSecond: 400},
	}
	var out strings.Builder
	printSummary(&out, medians, compare(medians))
	for _, want := range []string{"writes_per_second", "0.250", "errors", "busy", "/ b"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "reads_per_second") {
		t.Errorf("a line of zeros in\n%s", out.String())
	}
}

func TestLatencies(t *testing.T) {
	recorders := newRecorders(1000)
	if len(recorders) != maxRecorders {
		t.Fatalf("%d recorders", len(recorders))
	}
	for i := range 1000 {
		recorders[i%len(recorders)].record(i%2 == 0, time.Duration(i+1)*time.Millisecond)
	}
	recorders[0].record(false, time.Hour) // counts as the greatest
	recorders[0].record(false, -time.Second)
	taken := newLatencies()
	drain(recorders, taken)
	if writes, reads := taken.writes.TotalCount(), taken.reads.TotalCount(); writes != 502 || reads != 500 {
		t.Fatalf("%d writes, %d reads", writes, reads)
	}
	if p50 := latencyOf(taken.reads).P50; p50 < 495 || p50 > 505 {
		t.Fatalf("p50 is %g ms", p50)
	}
	if empty := latencyOf(newHistogram()); empty != (Latency{}) {
		t.Fatalf("nothing took %+v", empty)
	}
	again := newLatencies()
	drain(recorders, again)
	if again.writes.TotalCount()+again.reads.TotalCount() != 0 {
		t.Fatal("samples were given out twice")
	}
}
