package logstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/internal/leaktest"
	"github.com/flotilla-raft/flotilla/internal/spantest"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
)

func pebbleStore() Store {
	return Store{Name: "pebble", Open: func(directory string, fs vfs.FS) (logdb.LogDB, error) {
		return pebblelog.Open(pebblelog.Options{Dir: directory, FS: fs})
	}}
}

func TestAppendMeasuresEveryCombination(t *testing.T) {
	defer leaktest.Verify(t)
	spantest.Run(t, 80*time.Millisecond, func(span time.Duration) (lacking string) {
		var out bytes.Buffer
		results, err := RunAppend(context.Background(), AppendConfig{
			Stores: []Store{pebbleStore()}, Directory: t.TempDir(), Appenders: []int{1, 4}, Payloads: []int{16, 5000},
			Warmup: span / 10, Duration: span, Repeat: 2, KeepBytes: 20_000,
		}, &out)
		if err != nil {
			t.Fatal(err)
		}
		if len(results) != 4 || strings.Count(out.String(), "pebble") != 4 {
			t.Fatalf("%d results:\n%s", len(results), out.String())
		}
		nothing := func(r AppendResult) bool {
			return r.AppendsPerSecond == 0 || r.SyncsPerSecond == 0 || len(techniques()) > 0 && r.Ratio == 0
		}
		if slices.ContainsFunc(results, nothing) {
			return fmt.Sprintf("nothing is measured: %+v", results)
		}
		for _, r := range results {
			if lacking := lackingIn(&r); lacking != "" {
				return fmt.Sprintf("%s: %+v", lacking, r)
			}
		}
		return ""
	})
}

// lackingIn says what is wrong with a result. Appends and commits are counted by two parties, from an instant and up to one: where a short span begins or ends
// late for one of them, as it does on a busy machine, they do not fit, and one of two repeats in which there was no commit halves the means.
func lackingIn(r *AppendResult) string {
	switch {
	case r.AppendsPerSecond <= 0 || r.SyncsPerSecond <= 0 || r.LatencyP50 <= 0 || r.BytesPerSync < float64(r.Payload):
		return "nothing measured"
	case r.AppendsPerSecond > 1.5*r.SyncsPerSecond*float64(r.Appenders):
		return "more appends in a commit than appenders"
	case len(techniques()) > 0 && (r.Ratio <= 0 || r.Limit == ""):
		return "no limit"
	}
	return ""
}

// TestAppendKeepsTheLogThatItSays looks at what compaction left.
func TestAppendKeepsTheLogThatItSays(t *testing.T) {
	db, err := pebbleStore().Open(t.TempDir(), vfs.Default)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	a := newAppender(newGatherer(db), 3, 100, 1, 2000)
	for range 200 {
		group, err := a.group()
		if err != nil {
			t.Fatal(err)
		}
		a.gatherer.submit(group, a.done)
		if err := <-a.done; err != nil {
			t.Fatal(err)
		}
	}
	stored, err := db.Load(a.key)
	if err != nil || stored.Last != 200 || stored.Compacted == 0 || stored.Last-stored.Compacted > 2*a.keep {
		t.Fatalf("stored %+v, keep %d: %v", stored, a.keep, err)
	}
	if commits, bytes := a.gatherer.counts(); commits != 200 || bytes < 200*uint64(len(a.batch)) {
		t.Fatal("counted", commits, bytes)
	}
}

// failing is a store whose commits fail.
type failing struct{ logdb.LogDB }

var errBroken = errors.New("broken")

func (failing) Commit(_ []logdb.Group, done func(error)) { done(errBroken) }

func TestAppendReportsAFailedStore(t *testing.T) {
	store := pebbleStore()
	open := store.Open
	store.Open = func(directory string, fs vfs.FS) (logdb.LogDB, error) {
		db, err := open(directory, fs)
		return failing{db}, err
	}
	_, err := RunAppend(context.Background(), AppendConfig{
		Stores: []Store{store}, Directory: t.TempDir(), Appenders: []int{2}, Payloads: []int{16},
		Warmup: time.Millisecond, Duration: time.Millisecond, Repeat: 1,
	}, &bytes.Buffer{})
	if !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
}

func TestAppendEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errBroken)
	_, err := RunAppend(ctx, AppendConfig{Stores: []Store{pebbleStore()}, Directory: t.TempDir()}, &bytes.Buffer{})
	if !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
}

func TestAppendConfigListsEveryFault(t *testing.T) {
	_, err := RunAppend(context.Background(), AppendConfig{
		Appenders: []int{0}, Payloads: []int{-1}, Warmup: -1, Duration: -1, Repeat: -1, KeepBytes: -1,
	}, &bytes.Buffer{})
	if !errors.Is(err, ErrConfig) {
		t.Fatal(err)
	}
	for _, field := range []string{"Stores", "Directory", "Appenders", "Payloads", "Warmup", "Duration", "Repeat", "KeepBytes"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named in %v", field, err)
		}
	}
}
