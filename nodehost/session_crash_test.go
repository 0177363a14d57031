package nodehost_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/plugin/memnet"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/transport"
)

// diskJournal is a journal on disk that keeps its sessions: a file of records, one for each Update with its delta. split is the broken double,
// which writes data and sessions one after the other. point is called round everything that it does with the file; after an error
// it does nothing any more.
type diskJournal struct {
	fs    vfs.FS
	split bool
	point func() error

	file     vfs.File
	mu       sync.Mutex
	commands []string
	sessions map[string][]byte
	applied  uint64
}

type diskRecord struct {
	Index    uint64
	Commands []string           `json:",omitempty"`
	Writes   []rsm.SessionWrite `json:",omitempty"`
}

func (j *diskJournal) Open(context.Context) (uint64, error) {
	const name = "/data/journal"
	j.sessions = make(map[string][]byte)
	file, err := j.fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return 0, err
	}
	j.file = file
	if err := syncDirectory(j.fs, "/data"); err != nil {
		return 0, err
	}
	data, err := io.ReadAll(file)
	if err != nil {
		return 0, err
	}
	for len(data) >= 8 {
		length, sum := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])
		data = data[8:]
		if length == 0 || uint64(length) > uint64(len(data)) || crc32.ChecksumIEEE(data[:length]) != sum {
			break
		}
		var r diskRecord
		if err := json.Unmarshal(data[:length], &r); err != nil {
			return 0, err
		}
		j.redo(&r)
		data = data[length:]
	}
	return j.applied, j.rewrite(name)
}

// rewrite cuts off what is torn: a new file with what was read is put in place of the old one.
func (j *diskJournal) rewrite(name string) error {
	if err := j.file.Close(); err != nil {
		return err
	}
	var err error
	if j.file, err = j.fs.Create(name+".new", vfs.WriteCategoryUnspecified); err != nil {
		return err
	}
	all := &diskRecord{Index: j.applied, Commands: j.commands}
	for key, value := range j.sessions {
		all.Writes = append(all.Writes, rsm.SessionWrite{Key: []byte(key), Value: value})
	}
	if err := errors.Join(j.append(all), j.file.Sync(), j.fs.Rename(name+".new", name)); err != nil {
		return err
	}
	return syncDirectory(j.fs, "/data")
}

func syncDirectory(fs vfs.FS, name string) error {
	directory, err := fs.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

func (j *diskJournal) append(r *diskRecord) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	head = binary.LittleEndian.AppendUint32(head, crc32.ChecksumIEEE(body))
	_, err = j.file.Write(append(head, body...))
	return err
}

func (j *diskJournal) redo(r *diskRecord) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.commands = append(j.commands, r.Commands...)
	for _, write := range r.Writes {
		if write.Delete {
			delete(j.sessions, string(write.Key))
		} else {
			j.sessions[string(write.Key)] = slices.Clone(write.Value)
		}
	}
	j.applied = max(j.applied, r.Index)
}

func (j *diskJournal) UpdateWithSessions(entries []rsm.Entry, delta *rsm.SessionDelta) error {
	data := &diskRecord{Index: delta.Index}
	for i := range entries {
		data.Commands = append(data.Commands, string(entries[i].Command))
		entries[i].Result = rsm.Result{Value: uint64(len(j.commands) + i + 1), Data: entries[i].Command}
	}
	sessions := &diskRecord{Index: delta.Index, Writes: delta.Writes()}
	records := []*diskRecord{data, sessions}
	if !j.split {
		data.Writes = sessions.Writes
		records = records[:1]
	}
	for _, r := range records {
		if err := j.point(); err != nil {
			return err
		}
		if err := j.append(r); err != nil {
			return err
		}
		if err := j.point(); err != nil {
			return err
		}
		j.redo(r)
	}
	return j.Sync() // more often than it has to be
}

func (j *diskJournal) Sync() error {
	if err := j.point(); err != nil {
		return err
	}
	if err := j.file.Sync(); err != nil {
		return err
	}
	return j.point()
}

func (j *diskJournal) LoadSessions(yield func(key, value []byte) error) error {
	for key, value := range j.sessions {
		if err := yield([]byte(key), value); err != nil {
			return err
		}
	}
	return nil
}

func (j *diskJournal) Update([]rsm.Entry) error   { return errors.New("called on a SessionKeeper") }
func (j *diskJournal) Close() error               { return j.file.Close() }
func (j *diskJournal) Prepare() (rsm.View, error) { return nil, errors.New("no views") }
func (j *diskJournal) Recover(context.Context, rsm.SnapshotReader) error {
	return errors.New("no snapshots")
}

func (j *diskJournal) Lookup(any) (any, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.commands), nil
}

// The power of three hosts is cut at every point round the writes and syncs of one of their state machines, with a client's call under way. Another host
// serves the retry: it is applied once, everywhere, and so is everything else.
func TestPowerCutsBetweenDataAndSessions(t *testing.T) {
	for _, percent := range []int{0, 100} {
		t.Run(fmt.Sprint(percent, " percent of what was not synced"), func(t *testing.T) {
			t.Parallel()
			points := 0
			for point := 1; ; point++ {
				reached, err := cutDuringACall(t, point, percent, false)
				if err != nil {
					t.Errorf("point %d: %v", point, err)
				}
				if !reached {
					break
				}
				points++
			}
			if points < 15 {
				t.Errorf("%d points were looked at", points)
			}
		})
	}
}

// The test above would notice: a machine that writes its sessions after its data applies a call twice.
func TestPowerCutsBetweenDataAndSessionsAreNoticed(t *testing.T) {
	for point := 1; ; point++ {
		reached, err := cutDuringACall(t, point, 100, true)
		if err != nil {
			return
		}
		if !reached {
			t.Fatal("a machine whose sessions are not written with its data passes")
		}
	}
}

var errCut = errors.New("the power was cut")

// cutDuringACall lets a client make calls until the state machine of its host comes to a point, cuts the power of all hosts
// there, and lets it go on with what is left of them. It is not reached if the calls end before.
func cutDuringACall(t *testing.T, point, percent int, split bool) (reached bool, err error) {
	disks := make([]*vfs.MemFS, cutHosts)
	for i := range disks {
		disks[i] = vfs.NewCrashableMem()
		if err := errors.Join(disks[i].MkdirAll("/data", 0o755), syncDirectory(disks[i], "/")); err != nil {
			return false, err
		}
	}
	power := &powerSwitch{}
	var copies []*vfs.MemFS
	passed := 0
	cut := func() error {
		if copies != nil {
			return errCut
		}
		if passed++; passed < point {
			return nil
		}
		power.mu.Lock()
		defer power.mu.Unlock()
		for i, disk := range disks {
			copies = append(copies, disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(point), uint64(i)))}))
		}
		return errCut
	}
	hosts, err := startDiskHosts(disks, power, split, cut)
	defer func() { err = errors.Join(err, closeCutHosts(hosts)) }()
	if err != nil {
		return false, err
	}
	shard, err := hosts[0].Shard(1)
	if err != nil {
		return false, err
	}
	session, err := shard.OpenSession(patient(t))
	if errors.Is(err, nodehost.ErrQuarantined) {
		return true, nil // cut while it was opened: the client has no session, and no call
	}
	if err != nil {
		return false, err
	}
	const calls = 4
	var call *nodehost.Call
	n := 0
	for ; n < calls; n++ {
		call = session.Call([]byte(fmt.Sprint("call ", n)))
		result, err := call.Propose(patient(t))
		if errors.Is(err, nodehost.ErrQuarantined) {
			break
		}
		if err != nil || result.Value != uint64(n+1) {
			return false, fmt.Errorf("call %d: %+v, %w", n, result, err)
		}
	}
	if n == calls {
		return false, nil
	}
	return true, goOn(t, copies, session, call, n, calls)
}

// goOn starts hosts on what a cut has left and proposes the call that was under way once more, and then the rest.
func goOn(t *testing.T, disks []*vfs.MemFS, session *nodehost.Session, call *nodehost.Call, n, calls int) (err error) {
	hosts, err := startDiskHosts(disks, &powerSwitch{}, false, func() error { return nil })
	defer func() { err = errors.Join(err, closeCutHosts(hosts)) }()
	if err != nil {
		return err
	}
	shard, err := hosts[1+n%2].Shard(1)
	if err != nil {
		return err
	}
	if err := session.Via(shard); err != nil {
		return err
	}
	var want []string
	for i := range calls {
		want = append(want, fmt.Sprint("call ", i))
		if i < n {
			continue
		}
		if i > n {
			call = session.Call([]byte(want[i]))
		}
		if result, err := call.Propose(patient(t)); err != nil || result.Value != uint64(i+1) {
			return fmt.Errorf("call %d after the cut: %+v, %w", i, result, err)
		}
	}
	for i, host := range hosts {
		shard, err := host.Shard(1)
		if err != nil {
			return err
		}
		got, err := readUntilAnswered(patient(t), shard)
		if err != nil {
			return err
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("host %d has %q", i, got)
		}
	}
	return nil
}

// startDiskHosts starts three hosts with a shard on disk; point is that of the first one's state machine.
func startDiskHosts(disks []*vfs.MemFS, power *powerSwitch, split bool, point func() error) (hosts []*nodehost.NodeHost, err error) {
	network, err := memnet.NewNetwork(memnet.Options{})
	if err != nil {
		return nil, err
	}
	network.Start()
	members := map[uint64]string{1: "host-1:1", 2: "host-2:1", 3: "host-3:1"}
	for i, disk := range disks {
		host, err := nodehost.New(nodehost.Config{
			Dir: "/data/host", Address: members[uint64(i+1)], FS: &cutFS{disk, power}, DiskReserveBytes: -1,
			ElectionTimeout: 100 * time.Millisecond, RequestTimeout: 5 * time.Second,
			Transport: func(c nodehost.TransportContext) (transport.Transport, error) { return network.Host(c.Identity), nil },
			Tuning:    nodehost.Tuning{PromiseInterval: 5 * time.Millisecond},
		})
		if err != nil {
			return hosts, err
		}
		hosts = append(hosts, host)
	}
	for i, host := range hosts {
		config := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: uint64(i + 1), Members: members}
		machine := &diskJournal{fs: &cutFS{disks[i], power}, split: split, point: func() error { return nil }}
		if i == 0 {
			machine.point = point
		}
		factory := func(uint64, uint64) (rsm.StateMachine, error) { return machine, nil }
		if err := host.StartReplica(context.Background(), config, factory); err != nil {
			return hosts, err
		}
	}
	return hosts, nil
}
