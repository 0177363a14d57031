package nodehost

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-multierror"
	"github.com/lni/goutils/syncutil"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/internal/rebuild"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// NodeHost carries the replicas of many shards in one process, with one data directory and one network address. New makes it, Close
// ends it. All methods are safe for concurrent use.
type NodeHost struct {
	config    Config // defaults filled in
	directory *directory
	promises  *promiseFile
	log       logdb.LogDB
	snapshots *snapshot.Directory
	cache     *logdb.Cache
	transport *peerList
	engine    *engine.Engine
	stopper   *syncutil.Stopper

	diskFull, diskUnknown atomic.Bool
	refused               atomic.Bool // by a host that has seen a higher epoch

	closing  sync.Once
	closeErr error
	stopped  chan struct{} // closed once no answer of the engine will come any more

	mu     sync.Mutex
	closed bool // no operation begins any more
	// operations are those that need the engine to run until they end. It only grows while closed is false; quiet is closed once there
	// are none and none can begin.
	operations int
	quiet      chan struct{}
	shards     map[uint64]*Shard
}

// New opens or makes the host's data directory, raises its epoch and begins to listen. No replica runs yet: StartReplica starts
// each, those of former runs too. Errors: ErrInvalidConfig, ErrDirectoryLocked, ErrIdentityMismatch, ErrIdentityDamaged,
// ErrPromisesDamaged, ErrOtherLogStore, and others of log store and transport.
func New(config Config) (*NodeHost, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	h := &NodeHost{
		config:  config.withDefaults(),
		stopper: syncutil.NewStopper(),
		stopped: make(chan struct{}), quiet: make(chan struct{}),
		shards: make(map[uint64]*Shard),
	}
	if err := h.open(); err != nil {
		if h.transport != nil {
			err = errors.Join(err, h.transport.Close())
		}
		return nil, errors.Join(err, h.release())
	}
	h.engine.Start()
	if h.config.DiskReserveBytes > 0 {
		h.checkDisk()
	}
	h.stopper.RunWorker(h.watchDisk)
	id := h.hostIdentity()
	h.config.Logger.Info("host is up", "host", fmt.Sprintf("%016x", id.HostID), "epoch", id.Epoch, "address", id.Address,
		"deployment", id.Deployment, "dir", h.config.Dir, "log", h.log.Name(), "transport", h.transport.Name())
	return h, nil
}

// open takes hold of the parts in the order in which they need each other; release lets go of those that are there.
func (h *NodeHost) open() (err error) {
	if h.directory, err = openDirectory(&h.config); err != nil {
		return err
	}
	promises, skipped, err := openPromises(h.config.FS, h.config.Dir)
	if err != nil {
		return err
	}
	h.promises = promises
	if skipped > 0 {
		h.config.Logger.Warn("records of promises were not whole and are left out", "dir", h.config.Dir, "records", skipped)
	}
	log, err := h.config.LogDB(LogDBContext{
		Dir: h.directory.join(logName), FS: h.config.FS, Logger: h.config.Logger, HostID: h.directory.identity.hostID,
	})
	if err != nil {
		return fmt.Errorf("open log store: %w", err)
	}
	h.log = log // only now: what comes with an error may be a nil pointer in an interface that is not nil, and would be closed
	if err := h.disown(); err != nil {
		return err
	}
	if err := h.openSnapshots(); err != nil {
		return err
	}
	stores := rebuild.Stores{FS: h.config.FS, Dir: h.config.Dir, Log: h.log, Snapshots: h.snapshots, Promises: h.promises}
	if err := stores.FinishImport(); err != nil {
		return err
	}
	h.cache = logdb.NewCache(logdb.CacheOptions{Bytes: h.config.CacheBytes})
	made, err := h.config.Transport(TransportContext{
		Identity:      h.hostIdentity(),
		ListenAddress: h.config.ListenAddress,
		TLS:           h.config.TLS,
		Logger:        h.config.Logger,
		MaxFrameBytes: h.config.frameBytes(),
		Seed:          rand.Uint64(),
	})
	if err != nil {
		return fmt.Errorf("make transport: %w", err)
	}
	h.transport = &peerList{Transport: made}
	return h.openEngine()
}

// openEngine makes the engine and lets the transport deliver to it. What is delivered before Start waits in the inboxes.
func (h *NodeHost) openEngine() (err error) {
	options := h.config.engineOptions()
	options.LogDB, options.Transport, options.Cache, options.Promises = h.log, h.transport, h.cache, h.promises
	options.Snapshots = h.snapshots
	options.Random = rand.Uint64
	options.Listener = h.observe
	if h.engine, err = engine.New(options); err != nil {
		return err
	}
	if err := h.transport.Start(h.engine); err != nil {
		return fmt.Errorf("start transport: %w", err)
	}
	return nil
}

// release closes the parts that were opened, in reverse.
func (h *NodeHost) release() error {
	var faults *multierror.Error
	if h.snapshots != nil {
		faults = multierror.Append(faults, h.snapshots.Close())
	}
	if h.log != nil {
		faults = multierror.Append(faults, h.log.Close())
	}
	if h.promises != nil {
		faults = multierror.Append(faults, h.promises.close())
	}
	if h.directory != nil {
		faults = multierror.Append(faults, h.directory.close())
	}
	return faults.ErrorOrNil()
}

// observe takes every event of the engine, for those who wait for a leader and for the configured callbacks.
func (h *NodeHost) observe(event engine.Event) {
	h.watchEpoch(&event)
	if event.Kind == engine.EventLeaderChanged {
		if shard := h.lookup(event.ShardID); shard != nil {
			shard.announce()
		}
	}
	h.config.Events.deliver(&event)
}

// begin counts an operation that needs the engine until end is called.
func (h *NodeHost) begin() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrStopped
	}
	h.operations++
	return nil
}

func (h *NodeHost) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.operations--; h.closed && h.operations == 0 {
		close(h.quiet)
	}
}

// Close hands leaderships over, answers every pending request, stops all replicas, closes log store and transport, and
// gives the data directory free. Shards hand over all at once, for at most one election timeout, and refuse proposals with
// ErrTransferring meanwhile. Snapshots that are being taken are given up, and starts whose state machine is still recovering. State machines, writes under way and a callback of Events are waited for, each for at most Tuning.MaxStopWait: then Close
// names the replicas that did not stop (ErrStuck), closes everything else, and leaves the goroutine of a state machine or a
// callback that does not return behind, which ends when it does. If the disk does not answer, the log store is closed and the data directory given
// free only once it does, and ErrStuck says so. Later calls wait for the first and return what it returned. It must not be called from a callback.
func (h *NodeHost) Close() error {
	h.closing.Do(func() { h.closeErr = h.close() })
	return h.closeErr
}

// close goes from the outside in: no new operation, no replica, no message, no worker, no file. The engine
// runs until the last answer was given, since it is the engine that gives them. A disk that does not answer keeps an operation from
// its end, and later the log writer: neither is waited for without bound.
func (h *NodeHost) close() error {
	h.mu.Lock()
	if h.closed = true; h.operations == 0 {
		close(h.quiet)
	}
	h.mu.Unlock()
	h.engine.AbandonStarts()
	var faults *multierror.Error
	if wait := h.engine.MaxStopWait(); !closes(h.quiet, wait) {
		faults = multierror.Append(faults, fmt.Errorf("%w: a start, stop or removal of a replica has not ended after %s", ErrStuck, wait))
	}
	faults = multierror.Append(faults, h.stopAll())
	if err := h.transport.Close(); err != nil {
		faults = multierror.Append(faults, fmt.Errorf("close transport: %w", err))
	}
	close(h.stopped)
	var rest error
	if wait := closeWaits*h.engine.MaxStopWait() + closeSlack; !ends(func() { rest = h.closeFiles() }, wait) {
		h.config.Logger.Error("the disk does not answer: log store and data directory are closed when it does", "address", h.config.Address)
		return multierror.Append(faults, fmt.Errorf("%w: the disk has not answered after %s: log store and data directory are closed once it does",
			ErrStuck, wait))
	}
	faults = multierror.Append(faults, rest)
	h.config.Logger.Info("host is closed", "address", h.config.Address)
	return faults.ErrorOrNil()
}

// In closeFiles so many waits of at most MaxStopWait may follow each other: three of Engine.Stop, and one for the disk. The slack is for a disk
// that answers, and a MaxStopWait that leaves it no time.
const (
	closeWaits = 4
	closeSlack = 2 * time.Second
)

// closeFiles ends the workers and gives the files free, which nobody may do while one of them is writing.
func (h *NodeHost) closeFiles() error {
	h.stopper.Stop()
	var faults *multierror.Error
	if err := h.engine.Stop(); err != nil {
		faults = multierror.Append(faults, err)
	}
	if err := h.release(); err != nil {
		faults = multierror.Append(faults, err)
	}
	return faults.ErrorOrNil()
}

// ends runs what may wait for ever, and reports whether it has ended in time. If not it goes on by itself.
func ends(run func(), wait time.Duration) bool {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run()
	}()
	return closes(ended, wait)
}

// closes waits for a channel to be closed, and reports whether it was in time.
func closes(channel <-chan struct{}, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-channel:
		return true
	case <-timer.C:
		return false
	}
}

// stopAll stops every replica, all at once; each hands over what it leads.
func (h *NodeHost) stopAll() error {
	shards := h.running()
	answers := make(chan error, len(shards))
	for _, shard := range shards {
		h.engine.StopReplica(shard.replica, func(err error) {
			h.forget(shard)
			answers <- err
		})
	}
	var faults *multierror.Error
	for range shards {
		if err := <-answers; err != nil {
			faults = multierror.Append(faults, err)
		}
	}
	return faults.ErrorOrNil()
}
