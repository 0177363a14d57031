package loopback

import (
	"net"
	"testing"
)

// Addresses are different, can be listened on and reached, and are no other process's.
func TestAddresses(t *testing.T) {
	addresses, err := Addresses(5)
	if err != nil {
		t.Fatal(err)
	}
	listeners := map[string]net.Listener{}
	for _, address := range addresses {
		if listeners[address] != nil {
			t.Fatalf("twice in %v", addresses)
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		listeners[address] = listener
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	if len(addresses) != 5 {
		t.Errorf("want 5 addresses, got %v", addresses)
	}
}

func TestEveryProcessHasItsOwn(t *testing.T) {
	seen := map[string]int{}
	for _, process := range []int{1, 2, 255, 256, 257, 65535, 65536, 65537, 1 << 20, 1<<22 - 1} {
		ip := own(process)
		if !ip.IsLoopback() || ip.Equal(net.IPv4(127, 0, 0, 1)) {
			t.Errorf("process %d has %v", process, ip)
		}
		if other, taken := seen[ip.String()]; taken {
			t.Errorf("processes %d and %d both have %v", process, other, ip)
		}
		seen[ip.String()] = process
	}
}
