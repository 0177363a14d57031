package simulation

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// machineDirectory is where the state machines on disk of a host have their journals, in files of their own.
const machineDirectory = "machines"

// machineBlock is what a power cut keeps or loses of a journal as one: records are torn in their midst, and gaps are left between them.
const machineBlock = 64

// machineFiles are the files of a host's state machines on disk: they outlive its process, but for what was not synced.
type machineFiles struct {
	memory *vfs.MemFS
	files  *files // of the present life, or of the last one: what that has left unfinished ends there
	open   bool
}

func newMachineFiles() *machineFiles { return &machineFiles{memory: vfs.NewCrashableMem()} }

// begin begins a life.
func (f *machineFiles) begin(r *random) error {
	f.open = true
	f.files = newFiles(f.memory, r.fork())
	f.files.directories, f.files.repeatable, f.files.block = []string{machineDirectory}, true, machineBlock
	f.files.syncClass = fileOther
	return errors.Join(f.memory.MkdirAll(machineDirectory, 0o755), syncDirectory(f.memory, ""))
}

// crash ends it.
func (f *machineFiles) crash() {
	if f.open {
		f.memory, _ = f.files.cut()
		f.open = false
	}
}

// failures returns how many calls have failed in this life.
func (f *machineFiles) failures() uint64 {
	if f.files == nil {
		return 0
	}
	return f.files.counts.failed + f.files.counts.full + f.files.counts.failedSyncs
}

// remove removes the journals of a shard for good.
func (f *machineFiles) remove(shardID uint64) error {
	names, err := journals(f.memory, shardID)
	if err != nil || len(names) == 0 {
		return err
	}
	for _, name := range names {
		err = errors.Join(err, f.memory.Remove(f.memory.PathJoin(machineDirectory, name)))
	}
	return errors.Join(err, syncDirectory(f.memory, machineDirectory))
}

// removeMachine removes the data of a place's state machine for good.
func (p *place) removeMachine() {
	p.synced, p.written = 0, 0
	if err := p.host.machines.remove(p.shard.id); err != nil {
		p.host.world.violate("simulator", "%s: its state machine's data cannot be removed: %v", p.describe(), err)
	}
}

// replaceMachines puts empty files in the place of those of the host's state machines.
func (h *host) replaceMachines() {
	h.machines = newMachineFiles()
	for _, p := range h.places {
		if p != nil {
			p.synced, p.written = 0, 0
		}
	}
}

// journalName names a journal; of several of a shard the one of the highest generation is the newest.
func journalName(shardID, generation uint64) string {
	return fmt.Sprintf("%d-%06d", shardID, generation)
}

// journals lists those of a shard, newest first.
func journals(memory *vfs.MemFS, shardID uint64) ([]string, error) {
	all, err := memory.List(machineDirectory)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, name := range all {
		if strings.HasPrefix(name, fmt.Sprintf("%d-", shardID)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names, err
}
