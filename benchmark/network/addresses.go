package network

import (
	"errors"
	"time"

	"github.com/flotilla-raft/flotilla/internal/loopback"
)

// Addresses are those of a cluster's hosts, which are numbered from 0 on.
type Addresses struct {
	listen []string
	relays []*relay // nil without a delay
}

// NewAddresses finds free loopback ports and, with a delay above 0, starts the relays. The ports that hosts listen on are given back
// before the hosts take them, so another program may be faster; then the host's start fails.
func NewAddresses(hosts int, delay time.Duration) (*Addresses, error) {
	listen, err := loopback.Addresses(hosts)
	if err != nil {
		return nil, err
	}
	a := &Addresses{listen: listen}
	if delay <= 0 {
		return a, nil
	}
	for _, target := range a.listen {
		r, err := newRelay(target, delay)
		if err != nil {
			return nil, errors.Join(err, a.Close())
		}
		a.relays = append(a.relays, r)
	}
	return a, nil
}

// Listen is the address that a host is to listen on.
func (a *Addresses) Listen(host int) string { return a.listen[host] }

// Public is the address under which others reach the host. It is that of Listen if there is no delay.
func (a *Addresses) Public(host int) string {
	if len(a.relays) == 0 {
		return a.listen[host]
	}
	return a.relays[host].listener.Addr().String()
}

// Close ends the relays with every connection through them. Hosts are closed before.
func (a *Addresses) Close() error {
	var faults []error
	for _, r := range a.relays {
		faults = append(faults, r.close())
	}
	return errors.Join(faults...)
}
