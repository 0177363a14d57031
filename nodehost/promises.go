package nodehost

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
)

// promiseFile keeps what the replicas of this host have promised, outside of the log store (R14). It is an append-only file of
// fixed-size records, the last of each replica counting, written anew when it has grown to rewriteFactor times what is live.
type promiseFile struct {
	fs  vfs.FS
	dir string

	// mu guards promises. It is never held over a write, so that starting replicas does not wait for a sync.
	mu       sync.Mutex
	promises map[logdb.ReplicaKey]raft.Promised

	// writing guards what follows and orders the writes. Lock order: writing, mu.
	writing sync.Mutex
	file    vfs.File
	records int   // in the file
	failed  error // a failed write or sync is not tried again (R9)
	buffer  []byte
}

const (
	// rewriteFactor trades disk space against rewriting; minRewrite keeps small files from being rewritten all the time.
	rewriteFactor = 4
	minRewrite    = 1024
)

var _ engine.PromiseStore = (*promiseFile)(nil)

// openPromises loads the file, or makes one, and begins a fresh file with what is live: the tail that a crash has torn is gone with
// the old one, and records can be appended at a known place. skipped is the number of records that were not whole.
func openPromises(system vfs.FS, dir string) (p *promiseFile, skipped int, err error) {
	p = &promiseFile{fs: system, dir: dir, promises: make(map[logdb.ReplicaKey]raft.Promised)}
	path := system.PathJoin(dir, promisesName)
	content, err := readFile(system, path, math.MaxInt64-1)
	switch {
	case err == nil:
		if p.promises, skipped, err = decodePromises(content); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", path, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, 0, fmt.Errorf("read promises: %w", err)
	}
	if err := p.rewrite(); err != nil {
		return nil, 0, err
	}
	return p, skipped, nil
}

// Promised implements engine.PromiseStore.
func (p *promiseFile) Promised(key logdb.ReplicaKey) raft.Promised {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.promises[key]
}

// Record implements engine.PromiseStore: the records are durable when it returns nil. Safe for concurrent use.
func (p *promiseFile) Record(records []engine.PromiseRecord) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	if p.failed != nil {
		return p.failed
	}
	p.buffer = p.buffer[:0]
	for i := range records {
		p.buffer = appendPromise(p.buffer, &records[i])
	}
	if _, err := p.file.Write(p.buffer); err != nil {
		return p.fail(err)
	}
	if err := p.file.Sync(); err != nil {
		return p.fail(err)
	}
	p.records += len(records)
	if live := p.remember(records); p.records >= max(minRewrite, rewriteFactor*live) {
		if err := p.rewrite(); err != nil {
			return p.fail(err)
		}
	}
	return nil
}

func (p *promiseFile) remember(records []engine.PromiseRecord) (live int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range records {
		if records[i].Forgotten {
			delete(p.promises, records[i].Key)
		} else {
			p.promises[records[i].Key] = records[i].Promised
		}
	}
	return len(p.promises)
}

func (p *promiseFile) fail(err error) error {
	p.failed = fmt.Errorf("record promises: %w", err)
	return p.failed
}

// rewrite replaces the file by one that holds each live promise once.
func (p *promiseFile) rewrite() error {
	live := p.live()
	content := promiseHeader()
	for i := range live {
		content = appendPromise(content, &live[i])
	}
	file, err := replaceFile(p.fs, p.dir, promisesName, content)
	if err != nil {
		return fmt.Errorf("rewrite promises: %w", err)
	}
	old := p.file
	p.file, p.records = file, len(live)
	if old != nil {
		_ = old.Close() // nothing of it counts any more
	}
	return nil
}

// live returns all promises in the order of their keys.
func (p *promiseFile) live() []engine.PromiseRecord {
	p.mu.Lock()
	defer p.mu.Unlock()
	records := make([]engine.PromiseRecord, 0, len(p.promises))
	for key, promised := range p.promises {
		records = append(records, engine.PromiseRecord{Key: key, Promised: promised})
	}
	slices.SortFunc(records, func(a, b engine.PromiseRecord) int {
		return cmp.Or(cmp.Compare(a.Key.ShardID, b.Key.ShardID), cmp.Compare(a.Key.ReplicaID, b.Key.ReplicaID))
	})
	return records
}

// Replicas implements rebuild.Promises.
func (p *promiseFile) Replicas() (keys []logdb.ReplicaKey) {
	for _, record := range p.live() {
		keys = append(keys, record.Key)
	}
	return keys
}

func (p *promiseFile) close() error {
	p.writing.Lock()
	defer p.writing.Unlock()
	if p.failed == nil {
		p.failed = fmt.Errorf("record promises: %w", ErrStopped)
	}
	return p.file.Close()
}
