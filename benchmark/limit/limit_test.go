package limit

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/internal/leaktest"
	"github.com/flotilla-raft/flotilla/internal/spantest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// smallSegments makes every test cross from file to file.
const smallSegments = 64 << 10

// testEngine is the engine with small files, and ringEngine the one that writes over them.
func testEngine() benchmark.Engine { return smallEngine(smallSegments, false) }
func ringEngine() benchmark.Engine { return smallEngine(64*smallSegments, true) }

func smallEngine(segmentSize int, overwrite bool) benchmark.Engine {
	return benchmark.Engine{Name: "limit", Start: func(ctx context.Context, o benchmark.ClusterOptions) (benchmark.Cluster, error) {
		return start(ctx, o, segmentSize, overwrite)
	}}
}

func TestUnderTheHarness(t *testing.T) {
	for name, change := range map[string]func(*benchmark.Config){
		"plain":          func(*benchmark.Config) {},
		"blocking":       func(c *benchmark.Config) { c.Blocking = true },
		"one host":       func(c *benchmark.Config) { c.Hosts = 1 },
		"two hosts":      func(c *benchmark.Config) { c.Hosts = 2 },
		"five hosts":     func(c *benchmark.Config) { c.Hosts = 5 },
		"one at a time":  func(c *benchmark.Config) { c.Shards, c.InFlight = 1, 1 },
		"idle shards":    func(c *benchmark.Config) { c.Shards, c.InFlight = 20, 3 },
		"large commands": func(c *benchmark.Config) { c.Payload = 10_000 },
		"beyond a file":  func(c *benchmark.Config) { c.Payload, c.InFlight, c.Shards = 2*smallSegments, 2, 1 },
	} {
		t.Run(name, func(t *testing.T) { runTheHarness(t, testEngine(), change) })
		if name == "plain" || name == "one at a time" || name == "beyond a file" {
			t.Run(name+", written over", func(t *testing.T) { runTheHarness(t, ringEngine(), change) })
		}
	}
}

func runTheHarness(t *testing.T, engine benchmark.Engine, change func(*benchmark.Config)) {
	t.Helper()
	spantest.Run(t, 60*time.Millisecond, func(span time.Duration) (lacking string) {
		config := benchmark.DefaultConfig("limit")
		config.Shards, config.InFlight = 5, 100
		config.Duration, config.Warmup = span, 10*time.Millisecond
		config.Data = t.TempDir()
		change(&config)
		var out strings.Builder
		report, err := benchmark.Run(context.Background(), config, []benchmark.Engine{engine}, &out)
		if err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
		m := report.Median
		if m.WritesPerSecond == 0 || m.FsyncsPerThousandOps == 0 { // what was synced before the span may be all that is acknowledged in it
			return "nothing is measured"
		}
		if m.WritesPerSecond < 0 || m.FsyncsPerThousandOps < 0 || m.Errors != 0 || m.LogDB != "none" {
			t.Fatalf("got %+v", m)
		}
		return ""
	})
}

func TestLostAndDoubledCommandsAreFound(t *testing.T) {
	for _, injection := range []benchmark.Injection{benchmark.InjectLose, benchmark.InjectDouble} {
		isFound(t, injection, testEngine(), func(*benchmark.Config) {})
	}
}

// TestLostAndDoubledCommandsAreFoundInARing goes round the files, so that most of what is checked was applied before the end.
func TestLostAndDoubledCommandsAreFoundInARing(t *testing.T) {
	isFound(t, benchmark.InjectDouble, ringEngine(), func(config *benchmark.Config) { config.Payload = 4000 })
}

// isFound lets a run put a fault in, which its end check has to find.
func isFound(t *testing.T, injection benchmark.Injection, engine benchmark.Engine, change func(*benchmark.Config)) {
	t.Helper()
	spantest.Run(t, 300*time.Millisecond, func(span time.Duration) (lacking string) {
		config := benchmark.DefaultConfig("limit")
		config.Shards, config.InFlight = 2, 10
		config.Duration, config.Warmup = span, 0
		config.Data, config.Inject = t.TempDir(), injection
		change(&config)
		var out strings.Builder
		if _, err := benchmark.Run(context.Background(), config, []benchmark.Engine{engine}, &out); !errors.Is(err, benchmark.ErrCheck) {
			return fmt.Sprintf("%s: got %v\n%s", injection, err, out.String())
		}
		return ""
	})
}

// startForTest stands in for the harness where a test needs the cluster itself.
func startForTest(t *testing.T, hosts, shards int, fs vfs.FS) *cluster {
	t.Helper()
	c, err := start(context.Background(), benchmark.ClusterOptions{Hosts: hosts, Shards: shards, Directory: t.TempDir(), FS: fs},
		smallSegments, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestCallbackMayProposeAgain(t *testing.T) {
	c := startForTest(t, 3, 1, vfs.Default)
	const rounds = 200
	ended := make(chan struct{})
	var caller benchmark.Caller
	var left atomic.Int64
	left.Store(rounds)
	caller = c.Caller(0, 0, func(o benchmark.Outcome) {
		if o.Err != nil {
			t.Error(o.Err)
		}
		if left.Add(-1) == 0 {
			close(ended)
		} else if err := caller.ProposeAsync([]byte("again")); err != nil {
			t.Error(err)
		}
	})
	if err := caller.ProposeAsync([]byte("first")); err != nil {
		t.Fatal(err)
	}
	<-ended
}

func TestReadsAreRefused(t *testing.T) {
	c := startForTest(t, 1, 1, vfs.Default)
	caller := c.Caller(0, 0, nil)
	if answered, err := caller.ReadAsync(&benchmark.Query{}); answered || err == nil {
		t.Errorf("got %v, %v", answered, err)
	}
	if o := caller.Read(context.Background(), &benchmark.Query{}); o.Err == nil {
		t.Error("answered")
	}
}

func TestFailedSyncEndsEveryRequestOnce(t *testing.T) {
	var failing atomic.Bool
	fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && (op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync) {
			return errors.New("no disk")
		}
		return nil
	}))
	c := startForTest(t, 3, 2, fs)
	failing.Store(true)
	const requests = 20
	var ended [requests]atomic.Int64
	var work sync.WaitGroup
	for i := range requests {
		work.Add(1)
		var once sync.Once
		caller := c.Caller(0, i%2, func(o benchmark.Outcome) {
			if o.Err == nil {
				t.Error("acknowledged without a sync")
			}
			ended[i].Add(1)
			once.Do(work.Done)
		})
		if err := caller.ProposeAsync([]byte("lost")); err != nil {
			ended[i].Add(1)
			once.Do(work.Done)
		}
	}
	if o := c.Caller(0, 0, nil).Propose(context.Background(), []byte("blocking")); o.Err == nil {
		t.Error("acknowledged without a sync")
	}
	work.Wait()
	if err := c.Settle(context.Background()); err == nil || !strings.Contains(err.Error(), "no disk") {
		t.Errorf("settled: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for i := range ended {
		if n := ended[i].Load(); n != 1 {
			t.Errorf("request %d ended %d times", i, n)
		}
	}
}

func TestCloseEndsWhatIsPending(t *testing.T) {
	held := make(chan struct{})
	var holding atomic.Bool
	fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if holding.Load() && op.Kind == errorfs.OpFileSyncData {
			<-held
		}
		return nil
	}))
	c := startForTest(t, 3, 1, fs)
	holding.Store(true)
	ended := make(chan benchmark.Outcome, 1)
	if err := c.Caller(0, 0, func(o benchmark.Outcome) { ended <- o }).ProposeAsync([]byte("pending")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if o := c.Caller(0, 0, nil).Propose(ctx, []byte("given up")); !errors.Is(o.Err, context.Canceled) || !o.MayBeApplied {
		t.Errorf("got %+v", o)
	}
	if err := c.Settle(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("settled: %v", err)
	}
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	if o := <-ended; !errors.Is(o.Err, ErrClosed) || !o.MayBeApplied {
		t.Errorf("got %+v", o)
	}
	close(held)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := c.Caller(0, 0, nil).ProposeAsync(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestStartThatFailsLeavesNothingRunning(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpMkdirAll, errorfs.OpCreate, errorfs.OpFileSync} {
		fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == kind && strings.Contains(op.Path, "host-2") {
				return errors.New("no disk")
			}
			return nil
		}))
		options := benchmark.ClusterOptions{Hosts: 3, Shards: 1, Directory: t.TempDir(), FS: fs}
		if _, err := Start(context.Background(), options); err == nil || !strings.Contains(err.Error(), "no disk") {
			t.Errorf("%v: got %v", kind, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	options := benchmark.ClusterOptions{Hosts: 3, Shards: 1, Directory: t.TempDir(), FS: vfs.Default}
	if _, err := Start(ctx, options); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestDamageOnDiskIsFound(t *testing.T) {
	c := startForTest(t, 1, 1, vfs.Default)
	if o := c.Caller(0, 0, nil).Propose(context.Background(), []byte("sixteen bytes...")); o.Err != nil {
		t.Fatal(o.Err)
	}
	name := filepath.Join(c.options.Directory, "host-0", "000000.log")
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte{'!'}, headerSize+3); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	c.options.Machine = func(int, int) *benchmark.Machine { return nil } // never reached
	if err := c.Settle(context.Background()); !errors.Is(err, errFrame) || !strings.Contains(err.Error(), "000000.log") {
		t.Fatalf("got %v", err)
	}
}

// sealed returns a whole frame.
func sealed(h header, body []byte) []byte {
	frame := append(make([]byte, headerSize), body...)
	h.length = uint32(len(body))
	h.seal(frame)
	return frame
}

func TestFramesSurviveAnyRead(t *testing.T) {
	body := appendCommand(appendCommand(nil, []byte("one")), bytes.Repeat([]byte{7}, 3*linkBuffer))
	stream := sealed(header{kind: kindBatch, leader: 1, count: 2, shard: 4, index: 9}, body)
	stream = append(stream, sealed(header{kind: kindAck, leader: 2, shard: 3, index: 10}, nil)...)
	frames := newFrames(&trickle{stream, 1000})
	h, frame, err := frames.next()
	if err != nil || h.check(frame, 3, 5) != nil || h.last() != 10 || !bytes.Equal(frame[headerSize:], body) {
		t.Fatalf("got %+v, %v", h, err)
	}
	if h, frame, err = frames.next(); err != nil || h.check(frame, 3, 5) != nil || h.kind != kindAck || h.index != 10 {
		t.Fatalf("got %+v, %v", h, err)
	}
	if _, _, err := frames.next(); !errors.Is(err, io.EOF) {
		t.Fatalf("got %v", err)
	}
	if _, _, err := newFrames(bytes.NewReader(stream[:headerSize+5])).next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("got %v", err)
	}
}

// trickle gives out at most step bytes at a time.
type trickle struct {
	left []byte
	step int
}

func (r *trickle) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.step)], r.left)
	r.left = r.left[n:]
	return n, nil
}

func TestBadFramesAreRefused(t *testing.T) {
	for name, frame := range map[string][]byte{
		"kind":          sealed(header{kind: 3}, nil),
		"leader":        sealed(header{kind: kindAck, leader: 3}, nil),
		"shard":         sealed(header{kind: kindAck, shard: 5}, nil),
		"ack with body": sealed(header{kind: kindAck}, []byte{1}),
	} {
		h, err := parseHeader(frame)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.check(frame, 3, 5); !errors.Is(err, errFrame) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	frame := sealed(header{kind: kindAck}, nil)
	binary.LittleEndian.PutUint32(frame[8:], maxBody+1)
	if _, err := parseHeader(frame); !errors.Is(err, errFrame) {
		t.Errorf("length: got %v", err)
	}
	if err := apply(new(benchmark.Machine), header{}, []byte{0}); !errors.Is(err, errFrame) {
		t.Errorf("bytes behind the last command: got %v", err)
	}
	if err := apply(new(benchmark.Machine), header{count: 1}, []byte{9, 1}); !errors.Is(err, errFrame) {
		t.Errorf("cut command: got %v", err)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(sealed(header{kind: kindBatch, count: 1}, appendCommand(nil, []byte("command"))))
	f.Add(sealed(header{kind: kindAck}, nil))
	f.Add(make([]byte, headerSize))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, stream []byte) {
		frames := newFrames(bytes.NewReader(stream))
		for {
			h, frame, err := frames.next()
			if err != nil {
				return
			}
			if len(frame) != headerSize+int(h.length) {
				t.Fatalf("a frame of %d bytes with a body of %d", len(frame), h.length)
			}
			if h.check(frame, 3, 5) != nil {
				continue
			}
			for body := frame[headerSize:]; len(body) > 0; {
				if _, body, err = nextCommand(body); err != nil {
					break
				}
			}
		}
	})
}

func TestAllocationsPerCommand(t *testing.T) {
	if invariant.Enabled {
		t.Skip("assertions allocate")
	}
	c := startForTest(t, 3, 4, vfs.Default)
	const clients, rounds = 200, 50
	var work sync.WaitGroup
	callers := make([]benchmark.Caller, clients)
	for i := range callers {
		callers[i] = c.Caller(0, i%4, func(benchmark.Outcome) { work.Done() })
	}
	command := []byte("sixteen bytes...")
	run := func() {
		for range rounds {
			work.Add(clients)
			for _, caller := range callers {
				if err := caller.ProposeAsync(command); err != nil {
					t.Error(err)
					work.Done()
				}
			}
			work.Wait()
		}
	}
	run() // buffers grow to their size
	if got := testing.AllocsPerRun(3, run) / (clients * rounds); got > 0.05 {
		t.Fatalf("%g allocations per command", got)
	}
}
