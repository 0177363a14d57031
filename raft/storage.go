package raft

// StorageState is what the engine tells a core about the host's log store.
type StorageState uint8

const (
	// StorageOK takes writes.
	StorageOK StorageState = iota
	// StorageBusy is over its byte budget: proposals and replicated batches are refused for a while (R13).
	StorageBusy
	// StorageFull has only its reserve left: as StorageBusy, and leaderships move to hosts with room (R10).
	StorageFull
	// StorageFailed is a latch: nothing is voted for, acknowledged or led any more (R9).
	StorageFailed
	// StorageStalled is treated like StorageFailed, but may end (R9).
	StorageStalled
)

var storageNames = [...]string{"ok", "busy", "full", "failed", "stalled"}

// halted says that nothing may be promised at present.
func (s StorageState) halted() bool { return s >= StorageFailed }

// String returns the state's name.
func (s StorageState) String() string {
	if int(s) < len(storageNames) {
		return storageNames[s]
	}
	return "unknown"
}
