package logdb

import (
	"math"
	"sync"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// DefaultCacheBytes is the budget of a cache whose options name none: 256 MiB.
const DefaultCacheBytes = 256 << 20

// chunkOverhead is charged for every chunk on top of its bytes: its slot, and the rounding of the allocator. It
// keeps a cache full of tiny batches from growing a list of slots that is larger than what the slots hold.
const chunkOverhead = 64

// firstSlots is the length of a new cache's ring.
const firstSlots = 256

// CacheOptions are the options of a Cache. The zero value is useful.
type CacheOptions struct {
	// Bytes is the budget of the whole host, 0 for DefaultCacheBytes. The newest chunk is kept even if it alone
	// exceeds the budget, so that a batch can always be read back right after it was put.
	Bytes int64
}

// Cache is the host-wide log cache: the newest batches of all shards, shared by all step workers and safe for
// concurrent use. What is not in it any more is read from the log store.
//
// The chunk is its unit. A chunk is a buffer that a connection was read into, with many batches of many shards, or the
// bytes of one batch that was built on this host. It is charged whole and evicted whole, oldest first. Counting batches
// instead would let one small batch keep a read buffer of 256 KiB alive while being charged for its own few bytes.
//
// A reference (raftpb.BatchRef) holds the chunk's number and no pointer. Nobody counts references and nobody releases
// them: an evicted chunk is free for the garbage collector as soon as those who are reading it right now are
// done, and a reference to it is answered with false. Memory is never reused by the cache itself, so whoever has the bytes
// may go on reading them.
//
//	 evicted │ live chunks, numbered without a gap │ not there yet
//	─────────┼─────┬─────┬─────┬─────┬─────────────┼──────────────
//	 ... 4 5 │  6  │  7  │  8  │  9  │     10      │ 11 ...
//	         first                                  next
//	          slot of chunk n: n modulo the ring's length
type Cache struct {
	mu sync.Mutex
	// first and next: chunks first to next-1 are live. first <= next <= first + len(slots). Numbers begin at 1.
	first, next uint64
	slots       [][]byte // a ring; its length is a power of two
	bytes       int64    // what the live chunks are charged; above budget only if there is but one
	budget      int64
	counters    CacheCounters
}

// CacheCounters says what a cache holds and what it did since it was made.
type CacheCounters struct {
	Bytes     int64  // charged for live chunks
	Chunks    int64  // live
	Hits      uint64 // Gets that found their chunk
	Misses    uint64 // Gets that did not
	Evictions uint64 // chunks
	Copies    uint64 // batches put with a chunk that they do not alias or that was gone
}

// HitRate returns which share of the Gets found their chunk, 0 if there was none.
func (c *CacheCounters) HitRate() float64 {
	if c.Hits+c.Misses == 0 {
		return 0
	}
	return float64(c.Hits) / float64(c.Hits+c.Misses)
}

// NewCache returns an empty cache.
func NewCache(options CacheOptions) *Cache {
	budget := options.Bytes
	if budget <= 0 {
		budget = DefaultCacheBytes
	}
	return &Cache{first: 1, next: 1, slots: make([][]byte, firstSlots), budget: budget}
}

// NewChunk makes a buffer of size bytes and enters it in the cache as a chunk, for a connection to read into.
// Batches that are decoded from it keep the capacity up to the buffer's end (no three-index slicing), since Put
// finds their place from it. The chunk ages from now on: it is charged and may be evicted before anything was put.
func (c *Cache) NewChunk(size int) (number uint64, bytes []byte) {
	bytes = make([]byte, size)
	c.mu.Lock()
	number = c.add(bytes)
	c.mu.Unlock()
	return number, bytes
}

// Put returns the reference of a batch that aliases the numbered chunk. For chunk 0 the batch's own bytes become a
// new chunk, which is charged with the batch's capacity; they must not change any more.
//
// A batch that does not alias the chunk that is named, or whose chunk was evicted, is copied into a chunk of its own:
// to enter it as it is would keep a whole read buffer alive for the charge of one batch.
func (c *Cache) Put(batch raftpb.Batch, chunk uint64) raftpb.BatchRef {
	if len(batch) == 0 || uint64(len(batch)) > math.MaxUint32 {
		return raftpb.BatchRef{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	length := uint32(len(batch))
	if chunk != 0 {
		if offset, ok := c.offset(batch, chunk); ok {
			return raftpb.BatchRef{Chunk: chunk, Offset: offset, Length: length}
		}
		batch = append(make(raftpb.Batch, 0, len(batch)), batch...)
		c.counters.Copies++
	}
	return raftpb.BatchRef{Chunk: c.add(batch), Length: length}
}

// offset returns where in the numbered chunk the batch lies. Both slices end at the end of the same allocation if
// the batch was cut from the chunk, so the difference of the capacities is the offset; comparing the addresses of
// the first byte then proves it.
func (c *Cache) offset(batch raftpb.Batch, chunk uint64) (uint32, bool) {
	if chunk < c.first || chunk >= c.next {
		return 0, false
	}
	bytes := *c.slot(chunk)
	offset := cap(bytes) - cap(batch)
	if offset < 0 || offset > len(bytes)-len(batch) || uint64(offset) > math.MaxUint32 || &bytes[offset] != &batch[0] {
		return 0, false
	}
	return uint32(offset), true
}

// Get returns the bytes that a reference stands for, or false if their chunk was evicted. The bytes stay
// readable for as long as the caller holds them and are never written to.
func (c *Cache) Get(reference raftpb.BatchRef) (raftpb.Batch, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if reference.Chunk < c.first || reference.Chunk >= c.next {
		c.counters.Misses++
		return nil, false
	}
	bytes := *c.slot(reference.Chunk)
	end := uint64(reference.Offset) + uint64(reference.Length)
	if end > uint64(len(bytes)) {
		c.counters.Misses++
		return nil, false
	}
	c.counters.Hits++
	// The capacity is left as it is, so that what Get returned can be Put again under the same chunk.
	return raftpb.Batch(bytes[reference.Offset:end]), true
}

// Counters returns the counters as they stand now.
func (c *Cache) Counters() CacheCounters {
	c.mu.Lock()
	defer c.mu.Unlock()
	counters := c.counters
	counters.Bytes = c.bytes
	counters.Chunks = int64(c.next - c.first)
	return counters
}

func (c *Cache) slot(number uint64) *[]byte { return &c.slots[number&uint64(len(c.slots)-1)] }

// add enters bytes as the newest chunk and evicts what exceeds the budget, but never the chunk just entered.
func (c *Cache) add(bytes []byte) uint64 {
	if c.next-c.first == uint64(len(c.slots)) {
		c.grow()
	}
	number := c.next
	c.next++
	*c.slot(number) = bytes
	c.bytes += charge(bytes)
	for c.bytes > c.budget && c.first+1 < c.next {
		c.evict()
	}
	return number
}

func (c *Cache) evict() {
	slot := c.slot(c.first)
	c.bytes -= charge(*slot)
	*slot = nil
	c.first++
	c.counters.Evictions++
}

// grow doubles the ring. It never shrinks: its length is bounded by the budget over chunkOverhead.
func (c *Cache) grow() {
	slots := make([][]byte, 2*len(c.slots))
	for number := c.first; number < c.next; number++ {
		slots[number&uint64(len(slots)-1)] = *c.slot(number)
	}
	c.slots = slots
}

func charge(bytes []byte) int64 { return int64(cap(bytes)) + chunkOverhead }
