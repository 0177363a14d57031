package seglog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// smallDirectory makes a directory with a history in it: segments with footers, and a last one without. It is left as after a kill, or after
// a clean end, which leaves a witness behind the last group.
func smallDirectory(t *testing.T, h *history, restarts int, closed bool) map[string][]byte {
	t.Helper()
	memory := vfs.NewMem()
	var now time.Duration
	s := openManual(t, memory)
	for i, c := range h.changes {
		commit(t, s, c, func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		})
		s.RunOnce(now)
		if restarts > 0 && (i+1)%(len(h.changes)/(restarts+1)) == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openManual(t, memory)
		}
	}
	if closed {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return contents(t, memory)
}

func openManual(t *testing.T, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open(manual(fs))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func contents(t *testing.T, fs vfs.FS) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	names, err := fs.List("log")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name != lockName {
			files[name] = readFile(t, fs, "log/"+name)
		}
	}
	return files
}

func imageOf(t *testing.T, files map[string][]byte) *vfs.MemFS {
	t.Helper()
	image := vfs.NewMem()
	if err := image.MkdirAll("log", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		writeFile(t, image, "log/"+name, content)
	}
	return image
}

// state is what was found of a replica after damage.
type verdict uint8

const (
	verdictWhole   verdict = iota
	verdictDamaged         // it says so
	verdictEarlier         // it is as it was earlier, and does not know: what promises are remembered for elsewhere (R14)
)

// judgeDamage opens a damaged directory and finds out, for each replica, which of the three it is; anything else fails the test. Opening once
// more must come to the same, so that nothing known of damage is forgotten.
func judgeDamage(t *testing.T, h *history, files map[string][]byte, where string) []verdict {
	t.Helper()
	image := imageOf(t, files)
	var first []string
	for range 2 {
		s, err := Open(manual(image))
		if err != nil {
			t.Fatalf("%s: open: %v", where, err)
		}
		got := fingerprint(t, s, h.keys)
		for _, key := range h.keys {
			if _, err := s.Load(key); errors.Is(err, logdb.ErrDamaged) {
				checkNamed(t, key, err, where)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatalf("%s: close: %v", where, err)
		}
		if first != nil && !slices.Equal(first, got) {
			t.Fatalf("%s: opened again it is %.400v\nfirst it was %.400v", where, got, first)
		}
		first = got
	}
	verdicts := make([]verdict, len(first))
	for i, line := range first {
		switch {
		case line == h.states[len(h.states)-1][i]:
		case line == "damaged":
			verdicts[i] = verdictDamaged
		case slices.ContainsFunc(h.states, func(state []string) bool { return state[i] == line }):
			verdicts[i] = verdictEarlier
		default:
			t.Fatalf("%s: %v was never in the state %.500s", where, h.keys[i], line)
		}
	}
	return verdicts
}

// checkNamed: an error about damage names shard, replica, file, place, and what it concerns of the log.
func checkNamed(t *testing.T, key logdb.ReplicaKey, err error, where string) {
	t.Helper()
	text := err.Error()
	if !strings.Contains(text, key.String()) || !strings.Contains(text, segmentSuffix) || !strings.Contains(text, " at ") {
		t.Fatalf("%s: the error does not say where the damage is: %s", where, text)
	}
	if strings.Count(text, logdb.ErrDamaged.Error()) != 1 {
		t.Fatalf("%s: the error says twice that there is damage: %s", where, text)
	}
	if !strings.Contains(text, "index") && !strings.Contains(text, "batch [") && !strings.Contains(text, "record at") {
		t.Fatalf("%s: the error does not say what is damaged: %s", where, text)
	}
}

func count(verdicts []verdict, want verdict) (n int) {
	for _, v := range verdicts {
		if v == want {
			n++
		}
	}
	return n
}

// TestEveryByteFlipped flips a bit in every byte of a small directory, but for the padding, of which it takes samples. At most one replica
// is concerned, and it knows, unless what was hit is the header of its newest record.
func TestEveryByteFlipped(t *testing.T) {
	h := draw(t, newWorkload(8, 4, 30), 23)
	files := smallDirectory(t, h, 2, true)
	whole, damaged, earlier, refused := 0, 0, 0, 0
	for name, content := range files {
		for at := range content {
			if content[at] == 0 && at%97 != 0 || at%share(1, 7) != 0 {
				continue
			}
			where := fmt.Sprintf("%s at %d (block offset %d)", name, at, at%blockSize)
			flipped := slices.Clone(content)
			flipped[at] ^= 1 << (at % 8)
			harmed := map[string][]byte{}
			for other, content := range files {
				harmed[other] = content
			}
			harmed[name] = flipped
			if name == formatName {
				if _, err := Open(manual(imageOf(t, harmed))); !errors.Is(err, logdb.ErrDamaged) {
					t.Fatalf("%s: open: %v", where, err)
				}
				refused++
				continue
			}
			verdicts := judgeDamage(t, h, harmed, where)
			if count(verdicts, verdictWhole) < len(verdicts)-1 {
				t.Fatalf("%s: one byte concerns several replicas: %v", where, verdicts)
			}
			if count(verdicts, verdictEarlier) > 0 && !strings.HasSuffix(name, segmentSuffix) {
				t.Fatalf("%s: %v", where, verdicts)
			}
			damaged += count(verdicts, verdictDamaged)
			earlier += count(verdicts, verdictEarlier)
			if count(verdicts, verdictWhole) == len(verdicts) {
				whole++
			}
		}
	}
	t.Logf("nothing lost %d, damaged %d, as it was earlier %d, refused %d", whole, damaged, earlier, refused)
	if whole == 0 || damaged == 0 || refused == 0 || earlier > damaged {
		t.Error("the run proves nothing, or too much goes unnoticed")
	}
}

// TestEveryBlockLost clears each block, as a bad sector or a lost write would, and puts each in the place of another, as a misdirected
// write would. Several replicas may be concerned; what they hold is never wrong, and nothing keeps the store from being opened.
func TestEveryBlockLost(t *testing.T) {
	h := draw(t, newWorkload(11, 4, 200), 70)
	files := smallDirectory(t, h, 2, true)
	damaged := 0
	for name, content := range files {
		if name == formatName {
			continue
		}
		for at := 0; at < len(content); at += blockSize {
			block := content[at:min(len(content), at+blockSize)]
			if !slices.ContainsFunc(block, func(b byte) bool { return b != 0 }) {
				continue
			}
			for how, replacement := range map[string][]byte{
				"cleared": make([]byte, blockSize), "misdirected": content[(at+blockSize)%len(content)/blockSize*blockSize:],
			} {
				harmed := map[string][]byte{}
				for other, content := range files {
					harmed[other] = content
				}
				changed := slices.Clone(content)
				copy(changed[at:min(len(content), at+blockSize)], replacement)
				harmed[name] = changed
				verdicts := judgeDamage(t, h, harmed, fmt.Sprintf("%s: block %d %s", name, at/blockSize, how))
				damaged += count(verdicts, verdictDamaged)
			}
		}
	}
	if damaged == 0 {
		t.Error("the run proves nothing")
	}
}

// TestEveryFileLost removes each segment. Whoever has something before and behind it in the stream is known to be damaged.
func TestEveryFileLost(t *testing.T) {
	h := draw(t, newWorkload(13, 3, 3000), 120)
	files := smallDirectory(t, h, 1, true)
	damaged := 0
	for name := range files {
		if !strings.HasSuffix(name, segmentSuffix) {
			continue
		}
		harmed := map[string][]byte{}
		for other, content := range files {
			if other != name {
				harmed[other] = content
			}
		}
		damaged += count(judgeDamage(t, h, harmed, name+" is missing"), verdictDamaged)
	}
	if damaged == 0 {
		t.Error("the run proves nothing")
	}
	delete(files, formatName)
	if _, err := Open(manual(imageOf(t, files))); !errors.Is(err, logdb.ErrDamaged) {
		t.Errorf("without %s: %v", formatName, err)
	}
}

// lastGroup returns the file and the offset of the newest group with records.
func lastGroup(t *testing.T, files map[string][]byte) (name string, offset int64, header groupHeader) {
	t.Helper()
	for file, content := range files {
		number, suffix, ok := parseName(file)
		if !ok || suffix != segmentSuffix {
			continue
		}
		for at := int64(blockSize); at+headerSize <= int64(len(content)); at += blockSize {
			h, err := decodeGroupHeader(content[at:], number, at)
			if err == nil && h.records > 0 && h.seq > header.seq {
				name, offset, header = file, at, h
			}
		}
	}
	return name, offset, header
}

// R11: bad bytes in the last group are a torn end while nothing bears witness of it, and damage as soon as the idle writer's marker does.
func TestTornOnlyBeyondEveryWitness(t *testing.T) {
	h := &history{}
	w := newWorkload(1, 1, 100)
	model := h.begin(t, w.keys())
	for range 3 {
		h.add(t, model, w.append(w.logs[0], 1))
	}
	memory := vfs.NewMem()
	s := openManual(t, memory)
	for _, c := range h.changes {
		commit(t, s, c, func(error) {})
		s.RunOnce(0)
	}
	for _, marked := range []bool{false, true} {
		if marked {
			var now time.Duration
			runIdle(s, &now)
		}
		files := contents(t, memory)
		name, offset, header := lastGroup(t, files)
		content := slices.Clone(files[name])
		content[offset+int64(header.length)-20] ^= 1
		files[name] = content
		reopened := openManual(t, imageOf(t, files))
		got := fingerprint(t, reopened, h.keys)[0]
		if err := reopened.Close(); err != nil {
			t.Fatal(err)
		}
		if want := h.states[2][0]; !marked && got != want {
			t.Errorf("without a witness: %s, want the state before the torn group, %s", got, want)
		}
		if marked && got != "damaged" {
			t.Errorf("with a witness: %s, want damage", got)
		}
	}
}

// Damage in a batch of a running store concerns that replica alone, names the place, and does not end the store. It outlives the
// segment that it was found in, and ends with Remove.
func TestDamageWhileRunning(t *testing.T) {
	memory := vfs.NewMem()
	s := openManual(t, memory)
	keys := []logdb.ReplicaKey{{ShardID: 1, ReplicaID: 1}, {ShardID: 2, ReplicaID: 1}}
	for i := range uint64(6) {
		for _, key := range keys {
			saveAll(t, s, &raftpb.Save{ShardID: key.ShardID, ReplicaID: 1, MustSync: true,
				Batches: []raftpb.Batch{logdbtest.Batch(key.ShardID, 1, 1+i, 1, 9000)}})
		}
	}
	r := s.index.replicas[keys[0]].runs[0]
	flip(t, memory, segmentName(uint64(r.segment)), int64(r.offset)+200)
	_, err := s.Read(keys[0], 1, 1, 1, nil)
	if !errors.Is(err, logdb.ErrDamaged) || !strings.Contains(err.Error(), segmentName(uint64(r.segment))) || !strings.Contains(err.Error(), "shard 1") {
		t.Errorf("read: %v", err)
	}
	if _, err := s.Read(keys[1], 1, 6, 1<<20, nil); err != nil {
		t.Errorf("the other replica: %v", err)
	}
	// What was found is written down: a restart knows it even if the damaged bytes are beyond every witness.
	s.RunOnce(0)
	if s.index.replicas[keys[0]].damageAt() == 0 || s.index.replicas[keys[1]].damageAt() != 0 {
		t.Error("the damage is not written down, or too much of it")
	}
	// The segment is emptied: the batch is left behind.
	saveAll(t, s, &raftpb.Save{ShardID: 2, ReplicaID: 1, TruncateFrom: 1, MustSync: true})
	var now time.Duration
	runIdle(s, &now)
	for i := range uint64(20) {
		saveAll(t, s, &raftpb.Save{ShardID: 3, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(3, 1, 1+i, 1, 9000)}})
		commitGroup(t, s, func(g logdb.Group) { g.Compact(logdb.ReplicaKey{ShardID: 3, ReplicaID: 1}, i+1, 1) })
		runIdle(s, &now)
	}
	if _, there := s.index.segments[r.segment]; there {
		t.Error("the damaged segment was not emptied")
	}
	for range 2 {
		if _, err := s.Load(keys[0]); !errors.Is(err, logdb.ErrDamaged) {
			t.Errorf("load after the segment is gone: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openManual(t, memory)
	}
	commitGroup(t, s, func(g logdb.Group) { g.Remove(keys[0]) })
	saveAll(t, s, &raftpb.Save{ShardID: 1, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(1, 1, 1, 1, 10)}})
	if stored, err := s.Load(keys[0]); err != nil || stored.Last != 1 {
		t.Errorf("after Remove: %+v, %v", stored, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func flip(t *testing.T, fs vfs.FS, name string, offset int64) {
	t.Helper()
	file, err := fs.OpenReadWrite("log/"+name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := file.ReadAt(b, offset); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := file.WriteAt(b, offset); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func saveAll(t testing.TB, s *Store, list ...*raftpb.Save) {
	t.Helper()
	commitGroup(t, s, func(g logdb.Group) {
		for _, save := range list {
			if err := g.Save(save); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// commitGroup commits in a Manual store and waits.
func commitGroup(t testing.TB, s *Store, fill func(logdb.Group)) {
	t.Helper()
	group := s.NewGroup()
	fill(group)
	completed := false
	s.Commit([]logdb.Group{group}, func(err error) {
		if err != nil {
			t.Fatal(err)
		}
		completed = true
	})
	for i := 0; !completed; i++ {
		if i > 100 {
			t.Fatal("the Commit does not complete")
		}
		s.RunOnce(0)
	}
}
