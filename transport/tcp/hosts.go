package tcp

import (
	"fmt"
	"net"
	"sync"

	"github.com/flotilla-raft/flotilla/transport"
)

// maxHosts bounds the table of hosts, so that strangers who make up host ids cannot fill the memory. Far more hosts than
// any deployment has.
const maxHosts = 1 << 16

// hostTable remembers the newest start of every host that was met, and holds its incoming connections. mu is a leaf: nothing
// but closing a connection is called under it.
type hostTable struct {
	mu    sync.Mutex
	hosts map[uint64]*hostRecord
}

// hostRecord is what is known of one host id. Invariant: incoming holds connections of (epoch, process) only.
type hostRecord struct {
	epoch, process uint64
	incoming       [transport.LaneCount]net.Conn
}

// admit checks the epoch that a host presents (R14) and remembers it. An epoch below the highest one seen means that an old data
// directory was put back, or that a dead process's connection arrived late. The same epoch from another process is the
// first case too: every start raises it. A higher epoch ends the connections of the older process.
func (h *hostTable) admit(identity transport.HostIdentity, process uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	record := h.hosts[identity.HostID]
	if record == nil {
		if len(h.hosts) >= maxHosts {
			return fmt.Errorf("%w: host %x would be number %d", transport.ErrWrongHost, identity.HostID, maxHosts+1)
		}
		if h.hosts == nil {
			h.hosts = make(map[uint64]*hostRecord)
		}
		h.hosts[identity.HostID] = &hostRecord{epoch: identity.Epoch, process: process}
		return nil
	}
	if identity.Epoch < record.epoch {
		return fmt.Errorf("%w: host %x presents epoch %d, was seen with %d", transport.ErrStaleEpoch, identity.HostID, identity.Epoch, record.epoch)
	}
	if identity.Epoch == record.epoch {
		if process != record.process {
			return fmt.Errorf("%w: a second process of host %x presents epoch %d", transport.ErrStaleEpoch, identity.HostID, identity.Epoch)
		}
		return nil
	}
	record.epoch, record.process = identity.Epoch, process
	for lane, conn := range record.incoming {
		if conn != nil {
			closeNow(conn)
			record.incoming[lane] = nil
		}
	}
	return nil
}

// attach makes conn the host's one incoming connection of a lane and closes the one before it, which a host that dials again has
// given up. It returns false if a newer process was admitted meanwhile.
func (h *hostTable) attach(identity transport.HostIdentity, lane transport.Lane, conn net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	record := h.hosts[identity.HostID]
	if record == nil || record.epoch != identity.Epoch {
		return false
	}
	if before := record.incoming[lane]; before != nil {
		closeNow(before)
	}
	record.incoming[lane] = conn
	return true
}

// detach forgets conn, unless another one took its place.
func (h *hostTable) detach(identity transport.HostIdentity, lane transport.Lane, conn net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if record := h.hosts[identity.HostID]; record != nil && record.incoming[lane] == conn {
		record.incoming[lane] = nil
	}
}
