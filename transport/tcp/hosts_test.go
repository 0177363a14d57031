package tcp

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/transport"
)

func TestAdmitJudgesEpochs(t *testing.T) {
	var h hostTable
	for _, c := range []struct {
		epoch, process uint64
		want           error
	}{
		{5, 1, nil}, {5, 1, nil}, {4, 1, transport.ErrStaleEpoch}, {5, 2, transport.ErrStaleEpoch},
		{6, 2, nil}, {5, 1, transport.ErrStaleEpoch}, {6, 2, nil},
	} {
		if err := h.admit(transport.HostIdentity{HostID: 1, Epoch: c.epoch}, c.process); !errors.Is(err, c.want) {
			t.Errorf("epoch %d of process %d: %v, want %v", c.epoch, c.process, err, c.want)
		}
	}
}

func TestAdmitIsBounded(t *testing.T) {
	var h hostTable
	for id := range uint64(maxHosts) {
		if err := h.admit(transport.HostIdentity{HostID: id + 1, Epoch: 1}, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.admit(transport.HostIdentity{HostID: 1 << 40, Epoch: 1}, 1); !errors.Is(err, transport.ErrWrongHost) {
		t.Errorf("one host too many: %v", err)
	}
	if err := h.admit(transport.HostIdentity{HostID: 1, Epoch: 2}, 2); err != nil {
		t.Errorf("a host that is known: %v", err)
	}
}

// closed says whether the other end of a pipe was closed.
func closed(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Now())
	_, err := conn.Read(make([]byte, 1))
	return err == io.EOF
}

func TestAttachKeepsOneConnectionPerLane(t *testing.T) {
	var h hostTable
	pipe := func() (near, far net.Conn) {
		near, far = net.Pipe()
		t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
		return near, far
	}
	first := transport.HostIdentity{HostID: 1, Epoch: 1}
	if h.attach(first, transport.LaneBulk, nil) {
		t.Error("an unknown host was attached")
	}
	_ = h.admit(first, 1)
	a, farA := pipe()
	b, farB := pipe()
	c, farC := pipe()
	h.attach(first, transport.LaneBulk, a)
	h.attach(first, transport.LaneControl, c)
	if h.attach(first, transport.LaneBulk, b); !closed(farA) || closed(farB) || closed(farC) {
		t.Error("a newer connection of a lane closes the older one, and no other")
	}
	h.detach(first, transport.LaneBulk, a) // a's end comes late and must not detach b
	second := transport.HostIdentity{HostID: 1, Epoch: 2}
	if _ = h.admit(second, 2); !closed(farB) || !closed(farC) {
		t.Error("a newer process closes the connections of the older one")
	}
	if h.attach(first, transport.LaneBulk, a) {
		t.Error("a connection of the older process was attached")
	}
}

func TestBackoff(t *testing.T) {
	const least, most = 50 * time.Millisecond, 2 * time.Second
	sequence := func(seed uint64, address string) (pauses []time.Duration) {
		b := newBackoff(least, most, seed, address, 0)
		for range 100 {
			pauses = append(pauses, b.next())
		}
		return pauses
	}
	nominal := least
	for i, pause := range sequence(1, "a") {
		if pause < nominal/2 || pause > nominal {
			t.Errorf("pause %d is %v, want between %v and %v", i, pause, nominal/2, nominal)
		}
		nominal = min(most, 2*nominal)
	}
	same, other := 0, 0
	for i, pause := range sequence(1, "a") {
		if pause == sequence(1, "a")[i] {
			same++
		}
		if pause == sequence(1, "b")[i] {
			other++
		}
	}
	if same != 100 || other > 10 {
		t.Errorf("%d of 100 pauses agree for one address, %d for two", same, other)
	}
	b := newBackoff(time.Hour, 1<<62, 1, "a", 0)
	for range 100 { // doubling overflows
		if pause := b.next(); pause < 0 {
			t.Fatalf("pause %v", pause)
		}
	}
}
