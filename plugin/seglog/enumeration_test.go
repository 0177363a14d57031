package seglog

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// recorder is a file system that remembers every mutation, so that what a power cut at any of them may leave can be built again.
type recorder struct {
	vfs.FS
	events []event
	files  map[string]int // name to file
	next   int
	note   func() (begun, durable int)
	// calls counts all calls; the one with the number failAt, from 1, fails with failure and does nothing. failed says what it was.
	calls, failAt int
	failure       error
	failed        string
}

// call counts a call and reports whether it fails.
func (r *recorder) call(what string) error {
	if r.calls++; r.calls != r.failAt {
		return nil
	}
	r.failed = what
	return fmt.Errorf("call %d, %s: %w", r.calls, what, r.failure)
}

// event is one mutation: a write to a file, a sync of one, a change of a name, or the sync of the directory.
type event struct {
	what           string
	file           int
	offset         int64
	data           []byte
	from, to       string
	begun, durable int // of the workload when it was done
}

func newRecorder(note func() (int, int)) *recorder {
	return &recorder{FS: vfs.NewMem(), files: map[string]int{}, note: note}
}

func (r *recorder) add(e event) {
	e.begun, e.durable = r.note()
	r.events = append(r.events, e)
}

func (r *recorder) open(name string, file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	id, ok := r.files[name]
	if !ok {
		r.next++
		id = r.next
		r.files[name] = id
		r.add(event{what: "link", file: id, to: name})
	}
	return &recordedFile{File: file, recorder: r, id: id}, nil
}

func (r *recorder) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := r.call("create"); err != nil {
		return nil, err
	}
	delete(r.files, name)
	file, err := r.FS.Create(name, category)
	return r.open(name, file, err)
}

func (r *recorder) OpenReadWrite(name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption) (vfs.File, error) {
	if err := r.call("open for writing"); err != nil {
		return nil, err
	}
	file, err := r.FS.OpenReadWrite(name, category, options...)
	return r.open(name, file, err)
}

func (r *recorder) Open(name string, options ...vfs.OpenOption) (vfs.File, error) {
	if err := r.call("open"); err != nil {
		return nil, err
	}
	file, err := r.FS.Open(name, options...)
	if err != nil {
		return nil, err
	}
	return &recordedFile{File: file, recorder: r, id: -1}, nil
}

func (r *recorder) List(name string) ([]string, error) {
	if err := r.call("list"); err != nil {
		return nil, err
	}
	return r.FS.List(name)
}

func (r *recorder) Stat(name string) (vfs.FileInfo, error) {
	if err := r.call("stat"); err != nil {
		return nil, err
	}
	return r.FS.Stat(name)
}

func (r *recorder) OpenDir(name string) (vfs.File, error) {
	if err := r.call("open directory"); err != nil {
		return nil, err
	}
	file, err := r.FS.OpenDir(name)
	return &recordedFile{File: file, recorder: r, directory: name}, err
}

func (r *recorder) Rename(from, to string) error {
	if err := r.call("rename"); err != nil {
		return err
	}
	r.files[to] = r.files[from]
	delete(r.files, from)
	r.add(event{what: "rename", from: from, to: to})
	return r.FS.Rename(from, to)
}

func (r *recorder) Remove(name string) error {
	if err := r.call("remove"); err != nil {
		return err
	}
	delete(r.files, name)
	r.add(event{what: "remove", from: name})
	return r.FS.Remove(name)
}

type recordedFile struct {
	vfs.File
	recorder *recorder
	id       int // 0 for a directory, -1 for a file that is only read
	at       int64
	// directory is the name of the directory that it is.
	directory string
}

func (f *recordedFile) ReadAt(data []byte, offset int64) (int, error) {
	if err := f.recorder.call("read"); err != nil {
		return 0, err
	}
	return f.File.ReadAt(data, offset)
}

func (f *recordedFile) Close() error {
	return errors.Join(f.recorder.call("close"), f.File.Close())
}

func (f *recordedFile) WriteAt(data []byte, offset int64) (int, error) {
	if err := f.recorder.call("write"); err != nil {
		return 0, err
	}
	for at := 0; at < len(data); at += blockSize { // each block reaches the disk or not
		piece := slices.Clone(data[at:min(len(data), at+blockSize)])
		f.recorder.add(event{what: "write", file: f.id, offset: offset + int64(at), data: piece})
	}
	return f.File.WriteAt(data, offset)
}

func (f *recordedFile) Write(data []byte) (int, error) {
	if err := f.recorder.call("write"); err != nil {
		return 0, err
	}
	f.recorder.add(event{what: "write", file: f.id, offset: f.at, data: slices.Clone(data)})
	f.at += int64(len(data))
	return f.File.Write(data)
}

func (f *recordedFile) Sync() error {
	if err := f.recorder.call("sync"); err != nil {
		f.recorder.add(event{what: "failed sync", file: f.id, to: f.directory})
		return err
	}
	f.recorder.add(event{what: "sync", file: f.id, to: f.directory})
	return f.File.Sync()
}

func (f *recordedFile) SyncData() error { return f.Sync() }

// cutImage builds what a power cut after the first n events leaves: all that was synced, and of the writes that were not, those that keep
// says. Names are journaled: of the changes since the directory was synced the first so many are there.
func cutImage(t *testing.T, events []event, keep func(i int) bool, names int) *vfs.MemFS {
	t.Helper()
	synced := map[int]int{} // file to the last sync of it
	lost := map[int][2]int{}
	for i, e := range events {
		switch e.what {
		case "sync":
			synced[e.file] = i
		case "failed sync": // the system believes that what was dirty is clean; no later sync will write it
			lost[e.file] = [2]int{synced[e.file], i}
		}
	}
	content := map[int][]byte{}
	linked := map[string]int{}
	for i, e := range events {
		durable := i <= synced[0] && synced[0] > 0
		switch e.what {
		case "write":
			span := lost[e.file]
			if (i > synced[e.file] || span[0] < i && i < span[1]) && !keep(i) {
				continue
			}
			if grow := int(e.offset) + len(e.data) - len(content[e.file]); grow > 0 {
				content[e.file] = append(content[e.file], make([]byte, grow)...)
			}
			copy(content[e.file][e.offset:], e.data)
		case "link", "rename", "remove":
			if !durable {
				if names == 0 {
					continue
				}
				names--
			}
			changeName(linked, e)
		}
	}
	return buildImage(t, linked, content)
}

func changeName(linked map[string]int, e event) {
	switch e.what {
	case "link":
		linked[e.to] = e.file
	case "rename":
		if id, ok := linked[e.from]; ok {
			linked[e.to] = id
			delete(linked, e.from)
		}
	case "remove":
		delete(linked, e.from)
	}
}

func buildImage(t *testing.T, linked map[string]int, content map[int][]byte) *vfs.MemFS {
	t.Helper()
	image := vfs.NewMem()
	if err := image.MkdirAll("log", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, id := range linked {
		if err := image.MkdirAll(path.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, image, name, content[id])
	}
	return image
}

func writeFile(t testing.TB, fs vfs.FS, name string, content []byte) {
	t.Helper()
	file, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(slices.Clone(content)); err != nil { // it may change what it is given
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, fs vfs.FS, name string) []byte {
	t.Helper()
	file, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	content, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func manual(fs vfs.FS) Options {
	return Options{FS: fs, Dir: "log", SegmentBytes: MinSegmentBytes, Manual: true, IdleDelay: time.Millisecond}
}

// runIdle runs a Manual store until it has nothing more to do, for at most a second of its time.
func runIdle(s *Store, now *time.Duration) {
	for end := *now + time.Second; *now < end; {
		next := s.RunOnce(*now)
		if next < 0 {
			return
		}
		*now = max(next, *now+100*time.Microsecond)
	}
}

// recordRun runs a history on a recorded file system in one goroutine, with the work in the background between the Commits, and with
// restarts.
func recordRun(t *testing.T, h *history, restarts int) []event {
	t.Helper()
	begun, durable := 0, 0
	r := newRecorder(func() (int, int) { return begun, durable })
	var now time.Duration
	open := func() *Store {
		s, err := Open(manual(r))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	for i, c := range h.changes {
		begun = i + 1
		commit(t, s, c, func(err error) {
			if err != nil {
				t.Fatal(err)
			}
			if c.mustSync {
				durable = i + 1
			}
		})
		switch {
		case i%7 == 6:
			runIdle(s, &now)
		case i%3 != 2: // else the next is joined to it
			now += 10 * time.Microsecond
			s.RunOnce(now)
			s.RunOnce(now)
		}
		if restarts > 0 && (i+1)%(len(h.changes)/(restarts+1)) == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open()
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return r.events
}

// examine opens an image and checks that it holds the first n Commits, whole, with n in the range, and then that it can be written to.
func examine(t *testing.T, h *history, image vfs.FS, atLeast, atMost int, where string) {
	t.Helper()
	s, err := Open(manual(image))
	if err != nil {
		t.Fatalf("%s: open: %v", where, err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Fatalf("%s: close: %v", where, err)
		}
	}()
	got := fingerprint(t, s, h.keys)
	for n := atLeast; n <= atMost; n++ {
		if slices.Equal(h.states[n], got) {
			return
		}
	}
	for n, state := range h.states {
		if slices.Equal(state, got) {
			t.Fatalf("%s: the first %d commits are there, want between %d and %d", where, n, atLeast, atMost)
		}
	}
	for i := range got {
		t.Logf("%v: %.300s\n   want %.300s\n     or %.300s", h.keys[i], got[i], h.states[atLeast][i], h.states[atMost][i])
	}
	t.Fatalf("%s: what is there is no prefix of the commits, of which between %d and %d should be there", where, atLeast, atMost)
}

// subsets calls visit with ways to keep some of the unsynced writes among the first n events: none, all, every subset if they are few, and otherwise each
// one missing alone, each one there alone, and every prefix, as far as a budget goes.
func subsets(events []event, random *rand.Rand, budget int, visit func(name string, keep func(int) bool)) {
	synced := map[int]int{}
	var loose []int
	for i, e := range events {
		if e.what == "sync" {
			synced[e.file] = i
		}
	}
	for i, e := range events {
		if e.what == "write" && i > synced[e.file] {
			loose = append(loose, i)
		}
	}
	visit("all", func(int) bool { return true })
	if len(loose) == 0 {
		return
	}
	visit("none", func(int) bool { return false })
	if len(loose) <= 3 {
		for mask := 1; mask < 1<<len(loose)-1; mask++ {
			visit(fmt.Sprintf("mask %b", mask), func(i int) bool { return mask>>slices.Index(loose, i)&1 == 1 })
		}
		return
	}
	for range budget {
		switch at := loose[random.IntN(len(loose))]; random.IntN(4) {
		case 0:
			visit(fmt.Sprintf("all but event %d", at), func(i int) bool { return i != at })
		case 1:
			visit(fmt.Sprintf("only event %d", at), func(i int) bool { return i == at })
		case 2:
			visit(fmt.Sprintf("up to event %d", at), func(i int) bool { return i <= at })
		default:
			bits := random.Uint64() | random.Uint64()
			visit(fmt.Sprintf("bits %x", bits), func(i int) bool { return bits>>(i%64)&1 == 1 })
		}
	}
}

// enumerate cuts the power after every event.
func enumerate(t *testing.T, h *history, events []event, seed uint64, budget int) (points int) {
	random := rand.New(rand.NewPCG(seed, 9))
	for n := 1; n <= len(events); n++ {
		e := events[n-1]
		if e.what == "write" && n < len(events) && events[n].what == "write" && events[n].file == e.file && n%5 != 0 {
			continue // the subsets of the next event hold those of this one
		}
		atLeast, atMost := e.durable, e.begun
		if n < len(events) {
			atLeast, atMost = events[n].durable, max(e.begun, events[n].begun)
		}
		dirSync := 0
		for i, e := range events[:n] {
			if e.what == "sync" && e.file == 0 {
				dirSync = i
			}
		}
		names := 0
		for _, e := range events[dirSync:n] {
			if e.what == "link" || e.what == "rename" || e.what == "remove" {
				names++
			}
		}
		subsets(events[:n], random, budget, func(name string, keep func(int) bool) {
			kept := names
			if names > 0 && random.IntN(2) == 0 {
				kept = random.IntN(names + 1)
			}
			points++
			where := fmt.Sprintf("seed %d: after event %d (%s of file %d %s %s), %s of the unsynced writes and %d of %d names kept",
				seed, n, e.what, e.file, e.from, e.to, name, kept, names)
			examine(t, h, cutImage(t, events[:n], keep, kept), atLeast, atMost, where)
		})
	}
	return points
}

// share is how many of something an enumeration goes through: all, or a few of them with -short, as under the race detector, which finds
// nothing in a store that is run by hand in one goroutine and makes that five times as slow.
func share(all, few int) int {
	if testing.Short() {
		return few
	}
	return all
}

// TestEveryCut cuts the power after every write, sync and change of a name of a run that appends, fills segments, empties old ones, compacts, makes and
// removes replicas and restarts, and opens what may be left (ALICE's question, for every subset of unsynced blocks up to a bound).
func TestEveryCut(t *testing.T) {
	total := 0
	for seed := range uint64(share(4, 1)) {
		w := newWorkload(seed, 3, 3000)
		h := draw(t, w, 60)
		events := recordRun(t, h, 2)
		counts := map[string]int{}
		for _, e := range events {
			counts[e.what]++
		}
		if counts["rename"] < 3 || counts["sync"] < 40 {
			t.Errorf("seed %d: only %v", seed, counts)
		}
		total += enumerate(t, h, events, seed, 3)
	}
	t.Logf("%d points", total)
}

// TestEveryCutWhileOpening cuts the power once in a run and then again after every event of the opening that follows, of which the copy of
// the last segment is the largest part.
func TestEveryCutWhileOpening(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	points := 0
	for seed := range uint64(share(4, 1)) {
		h := draw(t, newWorkload(seed+20, 3, 3000), 40)
		events := recordRun(t, h, 1)
		for range share(6, 2) {
			n := len(events)/2 + random.IntN(len(events)/2)
			atLeast, atMost := events[n].durable, events[n].begun
			bits := random.Uint64()
			image := cutImage(t, events[:n], func(i int) bool { return bits>>(i%64)&1 == 1 }, 1<<30)
			second := recordOpening(t, image)
			points += enumerateFrom(t, h, second, seed, 2, atLeast, atMost)
		}
	}
	t.Logf("%d points", points)
}

// recordOpening records what opening an image writes, behind events that make the image.
func recordOpening(t *testing.T, image *vfs.MemFS) []event {
	t.Helper()
	r := newRecorder(func() (int, int) { return 0, 0 })
	if err := r.MkdirAll("log", 0o755); err != nil {
		t.Fatal(err)
	}
	names, err := image.List("log")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range names {
		if name == lockName {
			continue
		}
		file, err := r.Create("log/"+name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write(readFile(t, image, "log/"+name)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(file.Sync(), file.Close()); err != nil {
			t.Fatal(err)
		}
	}
	r.add(event{what: "sync"})
	made := len(r.events)
	s, err := Open(manual(r))
	if err != nil {
		t.Fatal(err)
	}
	var now time.Duration
	runIdle(s, &now)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range r.events[:made] {
		r.events[i].begun = -1 // not to be cut within
	}
	return r.events
}

// enumerateFrom cuts the power after every event behind those that made the image.
func enumerateFrom(t *testing.T, h *history, events []event, seed uint64, budget, atLeast, atMost int) (points int) {
	random := rand.New(rand.NewPCG(seed, 10))
	for n := 1; n <= len(events); n++ {
		if events[n-1].begun < 0 {
			continue
		}
		subsets(events[:n], random, budget, func(name string, keep func(int) bool) {
			points++
			where := fmt.Sprintf("seed %d: opening, after event %d (%s of file %d %s %s), %s of the unsynced writes kept",
				seed, n, events[n-1].what, events[n-1].file, events[n-1].from, events[n-1].to, name)
			examine(t, h, cutImage(t, events[:n], keep, random.IntN(8)), atLeast, atMost, where)
		})
	}
	return points
}

// TestCutsAreNoticed: the same without syncs must fail, or it would prove nothing.
func TestCutsAreNoticed(t *testing.T) {
	h := draw(t, newWorkload(1, 3, 1000), 30)
	events := recordRun(t, h, 0)
	last := events[len(events)-1]
	events = slices.DeleteFunc(events, func(e event) bool { return e.what == "sync" && e.file != 0 })
	image := cutImage(t, events, func(int) bool { return false }, 1<<30)
	s, err := Open(manual(image))
	if err == nil {
		defer s.Close()
		if slices.Equal(fingerprint(t, s, h.keys), h.states[last.durable]) {
			t.Error("nothing is lost without syncs")
		}
	}
}
