package logstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/go-multierror"

	"github.com/flotilla-raft/flotilla/logdb"
)

// FilledLine is what the child process of RunOpen prints once the store is filled and everything in it is durable.
const FilledLine = "filled"

// OpenConfig configures RunOpen.
type OpenConfig struct {
	// Stores are opened one after the other. Required.
	Stores []Store
	// Directory is where files are made; what is made is removed. Required.
	Directory string
	// Fill is what is written first. Shards default to 10,000, Bytes to 4 GiB, Payload to 16 KiB.
	Fill Fill
	// Child returns the command that calls FillStore for a store, prints FilledLine from its end, and then, if it is to
	// be killed, waits for that. Required.
	Child func(store Store, directory string, fill Fill, killed bool) *exec.Cmd
}

func (c *OpenConfig) setDefaults() {
	if c.Fill.Shards == 0 {
		c.Fill.Shards = 10_000
	}
	if c.Fill.Bytes == 0 {
		c.Fill.Bytes = 4 << 30
	}
	if c.Fill.Payload == 0 {
		c.Fill.Payload = 16 << 10
	}
}

// Validate lists every fault. The error is an ErrConfig.
func (c *OpenConfig) Validate() error {
	var faults *multierror.Error
	add := func(wrong bool, format string, arguments ...any) {
		if wrong {
			faults = multierror.Append(faults, fmt.Errorf(format, arguments...))
		}
	}
	add(len(c.Stores) == 0, "Stores: none, want at least one")
	add(c.Directory == "", "Directory: empty, want a directory")
	add(c.Child == nil, "Child: nil, want a function")
	add(c.Fill.Shards < 0 || c.Fill.Shards > 1<<24, "Fill.Shards: %d, want 0 to %d", c.Fill.Shards, 1<<24)
	add(c.Fill.Bytes < 0, "Fill.Bytes: %d, want 0 or more", c.Fill.Bytes)
	add(c.Fill.Payload < 0 || c.Fill.Payload > 64<<20, "Fill.Payload: %d, want 0 to %d", c.Fill.Payload, 64<<20)
	if faults == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrConfig, faults)
}

// OpenResult is how a store opened.
type OpenResult struct {
	Store  string `json:"store"`
	Killed bool   `json:"killed"` // by SIGKILL; closed cleanly otherwise
	Shards int    `json:"shards"`
	Bytes  int64  `json:"bytes"`

	OpenSeconds float64 `json:"open_seconds"`
	// LoadSeconds is spent on loading every replica after that, on as many goroutines as there are processors.
	LoadSeconds float64 `json:"load_seconds"`
	// DiskBytes is what the directory takes, as blocks.
	DiskBytes int64 `json:"disk_bytes"`
	// HeapBytes is what the open store holds in the heap once all replicas were loaded.
	HeapBytes     int64   `json:"heap_bytes"`
	HeapPerBatch  float64 `json:"heap_bytes_per_batch"`
	BatchesLoaded int64   `json:"batches"`
}

// RunOpen fills each store twice, once for a clean close and once for a kill, opens it with a cold page cache, and writes a table to out.
func RunOpen(ctx context.Context, config OpenConfig, out io.Writer) ([]OpenResult, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config.setDefaults()
	fmt.Fprintf(out, "%-10s %-7s %8s %9s %9s %9s %9s %9s %8s\n", "store", "ended", "shards", "MB", "open s", "load s", "disk MB", "heap MB", "B/batch")
	var results []OpenResult
	for _, store := range config.Stores {
		for _, killed := range []bool{false, true} {
			result, err := measureOpen(ctx, &config, store, killed)
			if err != nil {
				return results, fmt.Errorf("%s: %w", store.Name, err)
			}
			results = append(results, result)
			ended := "closed"
			if killed {
				ended = "killed"
			}
			fmt.Fprintf(out, "%-10s %-7s %8d %9.0f %9.3f %9.3f %9.0f %9.1f %8.1f\n", store.Name, ended, result.Shards, float64(result.Bytes)/1e6,
				result.OpenSeconds, result.LoadSeconds, float64(result.DiskBytes)/1e6, float64(result.HeapBytes)/1e6, result.HeapPerBatch)
		}
	}
	return results, nil
}

func measureOpen(ctx context.Context, config *OpenConfig, store Store, killed bool) (result OpenResult, err error) {
	result = OpenResult{Store: store.Name, Killed: killed, Shards: config.Fill.Shards, Bytes: config.Fill.Bytes}
	directory, err := os.MkdirTemp(config.Directory, "open")
	if err != nil {
		return result, fmt.Errorf("logstore: %w", err)
	}
	defer os.RemoveAll(directory)
	if err := fillByChild(ctx, config.Child(store, directory, config.Fill, killed), killed); err != nil {
		return result, err
	}
	if result.DiskBytes, err = coldFiles(directory); err != nil {
		return result, err
	}
	heap := heapBytes()
	begin := time.Now()
	db, err := store.Open(directory, vfs.Default)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	result.OpenSeconds = time.Since(begin).Seconds()
	begin = time.Now()
	entries, err := loadAll(db)
	result.LoadSeconds = time.Since(begin).Seconds()
	if err != nil {
		return result, err
	}
	result.BatchesLoaded = entries // one command in each
	result.HeapBytes = heapBytes() - heap
	result.HeapPerBatch = float64(result.HeapBytes) / float64(max(1, entries))
	return result, nil
}

// fillByChild runs the child until it has filled the store, and ends it.
func fillByChild(ctx context.Context, child *exec.Cmd, killed bool) error {
	child.Stderr = os.Stderr
	output, err := child.StdoutPipe()
	if err != nil {
		return fmt.Errorf("logstore: child: %w", err)
	}
	if err := child.Start(); err != nil {
		return fmt.Errorf("logstore: child: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = child.Process.Kill() })
	defer stop()
	filled := false
	for lines := bufio.NewScanner(output); lines.Scan(); {
		if lines.Text() == FilledLine {
			filled = true
			if killed {
				_ = child.Process.Kill()
			}
		}
	}
	err = child.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !filled:
		return fmt.Errorf("logstore: child ended before it had filled the store: %w", errors.Join(err))
	case !killed && err != nil:
		return fmt.Errorf("logstore: child: %w", err)
	}
	return nil
}

// coldFiles drops the files below a directory from the page cache and returns how many bytes of blocks they take.
func coldFiles(directory string) (int64, error) {
	total := int64(0)
	err := filepath.WalkDir(directory, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		blocks, err := dropFromCache(path)
		total += blocks
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("logstore: %w", err)
	}
	return total, nil
}

// loadAll loads every replica and returns how many entries there are.
func loadAll(db logdb.LogDB) (entries int64, err error) {
	keys, err := db.List()
	if err != nil {
		return 0, err
	}
	workers := runtime.GOMAXPROCS(0)
	counts, failures := make([]int64, workers), make([]error, workers)
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			for i := w; i < len(keys) && failures[w] == nil; i += workers {
				stored, err := db.Load(keys[i])
				failures[w] = err
				counts[w] += int64(stored.Last - stored.Compacted)
			}
		})
	}
	running.Wait()
	for _, n := range counts {
		entries += n
	}
	return entries, errors.Join(failures...)
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return int64(memory.HeapAlloc)
}
