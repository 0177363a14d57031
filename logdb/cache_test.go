package logdb

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"

	"github.com/flotilla-raft/flotilla/raftpb"
	"pgregory.net/rapid"
)

func TestCachePutInChunkHoldsTheOffset(t *testing.T) {
	cache := NewCache(CacheOptions{})
	number, chunk := cache.NewChunk(1000)
	for i := range chunk {
		chunk[i] = byte(i)
	}
	batch := raftpb.Batch(chunk[100:300])
	reference := cache.Put(batch, number)
	if want := (raftpb.BatchRef{Chunk: number, Offset: 100, Length: 200}); reference != want {
		t.Fatalf("reference %+v, want %+v", reference, want)
	}
	got, ok := cache.Get(reference)
	if !ok || &got[0] != &batch[0] || len(got) != len(batch) {
		t.Fatalf("Get does not alias the chunk: %v, %d bytes", ok, len(got))
	}
	if again := cache.Put(got, number); again != reference {
		t.Fatalf("what Get returned is put as %+v, want %+v", again, reference)
	}
	if counters := cache.Counters(); counters.Chunks != 1 || counters.Copies != 0 || counters.Hits != 1 {
		t.Fatalf("counters %+v", counters)
	}
}

func TestCachePutOfForeignBatchMakesItsOwnChunk(t *testing.T) {
	cache := NewCache(CacheOptions{})
	number, chunk := cache.NewChunk(1000)
	foreign := map[string]raftpb.Batch{
		"other memory":           raftpb.Batch(make([]byte, 50, 200)),
		"larger than the chunk":  raftpb.Batch(make([]byte, 5000)),
		"capacity was cut off":   raftpb.Batch(chunk[10:60:60]),
		"same capacity as chunk": raftpb.Batch(make([]byte, 1000)),
	}
	for name, batch := range foreign {
		batch[0] = 77
		reference := cache.Put(batch, number)
		if reference.Chunk == number || reference.Chunk == 0 {
			t.Errorf("%s: stands in chunk %d", name, reference.Chunk)
		}
		if got, ok := cache.Get(reference); !ok || !bytes.Equal(got, batch) {
			t.Errorf("%s: not found again", name)
		}
	}
	if counters := cache.Counters(); counters.Copies != uint64(len(foreign)) {
		t.Errorf("counters %+v", counters)
	}
}

func TestCachePutWithoutChunkDoesNotCopy(t *testing.T) {
	cache := NewCache(CacheOptions{})
	batch := raftpb.Batch(make([]byte, 300))
	got, ok := cache.Get(cache.Put(batch, 0))
	if !ok || &got[0] != &batch[0] {
		t.Fatal("the batch was copied")
	}
}

func TestCacheEvictsWholeChunksOldestFirst(t *testing.T) {
	cache := NewCache(CacheOptions{Bytes: 3 * (1000 + chunkOverhead)})
	first, chunk := cache.NewChunk(1000)
	a := cache.Put(raftpb.Batch(chunk[:10]), first)
	b := cache.Put(raftpb.Batch(chunk[900:]), first)
	second := cache.Put(make(raftpb.Batch, 1000), 0)
	third := cache.Put(make(raftpb.Batch, 1000), 0)
	for _, reference := range []raftpb.BatchRef{a, b, second, third} {
		if _, ok := cache.Get(reference); !ok {
			t.Fatalf("%+v is gone within the budget", reference)
		}
	}
	fourth := cache.Put(make(raftpb.Batch, 1000), 0)
	for reference, live := range map[raftpb.BatchRef]bool{a: false, b: false, second: true, third: true, fourth: true} {
		if _, ok := cache.Get(reference); ok != live {
			t.Errorf("%+v: live %v, want %v", reference, ok, live)
		}
	}
	if counters := cache.Counters(); counters.Evictions != 1 || counters.Chunks != 3 || counters.Bytes != 3*(1000+chunkOverhead) {
		t.Errorf("counters %+v", counters)
	}
	late := cache.Put(raftpb.Batch(chunk[5:20]), first)
	if got, ok := cache.Get(late); !ok || &got[0] == &chunk[5] {
		t.Error("a batch whose chunk was evicted keeps the chunk alive")
	}
}

func TestCacheKeepsTheNewestChunkAboveBudget(t *testing.T) {
	cache := NewCache(CacheOptions{Bytes: 100})
	reference := cache.Put(make(raftpb.Batch, 1000), 0)
	if _, ok := cache.Get(reference); !ok {
		t.Fatal("the newest chunk was evicted")
	}
	cache.Put(make(raftpb.Batch, 10), 0)
	if _, ok := cache.Get(reference); ok {
		t.Fatal("a chunk above the budget outlived the next one")
	}
}

func TestCacheRefusesReferencesToNothing(t *testing.T) {
	cache := NewCache(CacheOptions{})
	number, _ := cache.NewChunk(100)
	for _, reference := range []raftpb.BatchRef{
		{}, {Chunk: number + 1, Length: 1}, {Chunk: number, Offset: 100, Length: 1}, {Chunk: number, Offset: 1 << 31, Length: 1 << 31},
	} {
		if _, ok := cache.Get(reference); ok {
			t.Errorf("%+v was found", reference)
		}
	}
	if reference := cache.Put(nil, 0); reference != (raftpb.BatchRef{}) {
		t.Errorf("an empty batch got %+v", reference)
	}
	if counters := cache.Counters(); counters.Misses != 4 {
		t.Errorf("counters %+v", counters)
	}
}

// TestCacheAgainstModel compares with a list that is searched from the end.
func TestCacheAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const budget = 20_000
		cache := NewCache(CacheOptions{Bytes: budget})
		type entry struct {
			reference raftpb.BatchRef
			batch     raftpb.Batch
			charge    int64
		}
		var model []entry
		live := func(i int) bool {
			var sum int64
			for j := len(model) - 1; j >= i; j-- {
				sum += model[j].charge
			}
			return sum <= budget || i == len(model)-1
		}
		for range rapid.IntRange(1, 400).Draw(t, "operations") {
			if len(model) > 0 && rapid.Bool().Draw(t, "get") {
				i := rapid.IntRange(0, len(model)-1).Draw(t, "which")
				got, ok := cache.Get(model[i].reference)
				if ok != live(i) || ok && !bytes.Equal(got, model[i].batch) {
					t.Fatalf("chunk %d of %d: found %v, want %v", i, len(model), ok, live(i))
				}
				continue
			}
			batch := make(raftpb.Batch, rapid.IntRange(8, 600).Draw(t, "size"))
			binary.LittleEndian.PutUint64(batch, uint64(len(model)))
			model = append(model, entry{cache.Put(batch, 0), batch, charge(batch)})
		}
	})
}

func TestCacheIsSafeForConcurrentUse(t *testing.T) {
	cache := NewCache(CacheOptions{Bytes: 50_000})
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 2000 {
				number, chunk := cache.NewChunk(100)
				batch := raftpb.Batch(chunk[worker:])
				batch[0] = byte(i)
				reference := cache.Put(batch, number)
				if got, ok := cache.Get(reference); ok && got[0] != byte(i) {
					t.Errorf("worker %d reads another's bytes", worker)
					return
				}
			}
		})
	}
	group.Wait()
	if counters := cache.Counters(); counters.Bytes > 50_000 {
		t.Errorf("counters %+v", counters)
	}
}

func TestCacheAllocatesNothingPerCall(t *testing.T) {
	cache := NewCache(CacheOptions{})
	number, chunk := cache.NewChunk(1000)
	batch := raftpb.Batch(chunk[100:300])
	if allocations := testing.AllocsPerRun(1000, func() {
		if _, ok := cache.Get(cache.Put(batch, number)); !ok {
			t.Fatal("gone")
		}
	}); allocations != 0 {
		t.Errorf("Put and Get allocate %v times", allocations)
	}
}

func BenchmarkCachePutGet(b *testing.B) {
	cache := NewCache(CacheOptions{})
	number, chunk := cache.NewChunk(1000)
	batch := raftpb.Batch(chunk[100:300])
	b.ReportAllocs()
	for b.Loop() {
		cache.Get(cache.Put(batch, number))
	}
}
