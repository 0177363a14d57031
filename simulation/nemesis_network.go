package simulation

import "time"

func (n *nemesis) cut(from, to *host, by int) {
	if from == to {
		return
	}
	n.cuts[from.index][to.index] += by
	n.world.network.ways[from.index][to.index].cut = n.cuts[from.index][to.index] > 0
}

func (n *nemesis) other(h *host) *host {
	for {
		if other := pick(&n.random, n.world.hosts); other != h {
			return other
		}
	}
}

func (n *nemesis) injectNetwork(kind counter, h *host) bool {
	w := n.world
	n.note(h, counterNames[kind], 0, 0)
	switch kind {
	case countCut:
		other := n.other(h)
		n.cut(h, other, 1)
		n.cut(other, h, 1)
		n.during(100*time.Millisecond, 8*time.Second, func() {
			n.cut(h, other, -1)
			n.cut(other, h, -1)
		})
	case countOneWayCut:
		n.oneWay(h)
	case countPartition:
		n.partition(h)
	case countStar:
		n.star(h)
	case countDeafLeader:
		return n.deafen(h)
	case countFlap:
		n.flap(h, n.other(h), 1+2*n.random.below(15))
	case countSlowWay, countLossyWay, countDamagingWay:
		n.worsen(kind, h)
	case countBreak:
		for _, other := range w.hosts {
			if other == h || !n.random.chance(0.5) {
				continue
			}
			if h.up {
				for _, l := range h.endpoint.peers[other.index].links {
					w.network.breakLink(l, n.random.between(0, int64(time.Millisecond)))
				}
			}
			if other.up {
				for _, l := range other.endpoint.peers[h.index].links {
					w.network.breakLink(l, n.random.between(0, int64(time.Millisecond)))
				}
			}
		}
	}
	return true
}

// star leaves every other host a way to the hub, and none to a third.
func (n *nemesis) star(hub *host) {
	set := func(by int) {
		for _, a := range n.world.hosts {
			for _, b := range n.world.hosts {
				if a != b && a != hub && b != hub {
					n.cut(a, b, by)
				}
			}
		}
	}
	set(1)
	n.during(time.Second, 8*time.Second, func() { set(-1) })
}

// deafen keeps from a leader for a while that it is one no more: either it hands over, and hears nothing of what follows, or what it sends is lost
// while answers to what it has sent before are still on their way to it. So it is when it believes longest in its lease (R23).
func (n *nemesis) deafen(h *host) bool {
	p := h.places[n.random.below(len(h.places))]
	if p == nil || p.state != placeRunning || !p.replica.Leading() {
		return false
	}
	timeout := n.world.plan.raft.ElectionTimeout
	soon := timeout / 8
	var change func(other *host, by int)
	if n.random.chance(0.5) {
		ended := p.transferAsked(0)
		p.replica.Transfer(0, ended)
		h.wake()
		soon = 3 * time.Millisecond // before it hears of the election
		change = func(other *host, by int) { n.cut(other, h, by) }
	} else {
		late := n.random.between(int64(timeout/2), int64(3*timeout/2))
		ways := n.world.network.ways
		for _, other := range n.world.hosts {
			ways[other.index][h.index].late = late
		}
		n.during(timeout, 3*timeout, func() {
			for _, other := range n.world.hosts {
				ways[other.index][h.index].late = 0
			}
		})
		change = func(other *host, by int) { n.cut(h, other, by) }
	}
	set := func(by int) {
		for _, other := range n.world.hosts {
			change(other, by)
		}
	}
	n.during(time.Millisecond/4, soon, func() {
		set(1)
		n.during(timeout, 4*timeout, func() { set(-1) })
	})
	return true
}

// oneWay cuts the ways from a host to some others, or to it.
func (n *nemesis) oneWay(h *host) {
	incoming := n.random.chance(0.5)
	var cut []*host
	for _, other := range n.world.hosts {
		if other != h && n.random.chance(0.6) {
			cut = append(cut, other)
		}
	}
	change := func(by int) {
		for _, other := range cut {
			if incoming {
				n.cut(other, h, by)
			} else {
				n.cut(h, other, by)
			}
		}
	}
	change(1)
	n.during(100*time.Millisecond, 6*time.Second, func() { change(-1) })
}

// partition parts the hosts into two groups; sometimes one host stays in touch with both.
func (n *nemesis) partition(bridge *host) {
	w := n.world
	side := make([]bool, len(w.hosts))
	for i := range side {
		side[i] = n.random.chance(0.5)
	}
	bridged := n.random.chance(0.4)
	change := func(by int) {
		for i, a := range w.hosts {
			for j, b := range w.hosts {
				if side[i] != side[j] && (!bridged || a != bridge && b != bridge) {
					n.cut(a, b, by)
				}
			}
		}
	}
	change(1)
	n.during(200*time.Millisecond, 8*time.Second, func() { change(-1) })
}

// flap cuts and mends the way between two hosts in turns; times is odd at first, so that it ends mended.
func (n *nemesis) flap(a, b *host, times int) {
	by := -1
	if times%2 == 1 {
		by = 1
	}
	n.cut(a, b, by)
	n.cut(b, a, by)
	if times > 0 {
		n.during(20*time.Millisecond, 400*time.Millisecond, func() { n.flap(a, b, times-1) })
	}
}

// worsen makes the ways to and from a host, or all ways, slow, lossy or damaging for a while.
func (n *nemesis) worsen(kind counter, h *host) {
	everywhere := n.random.chance(0.3)
	delay := n.random.between(int64(time.Millisecond), int64(pick(&n.random, []time.Duration{10 * time.Millisecond, 300 * time.Millisecond})))
	loss, duplicate, reorder := 0.3*n.random.unit(), 0.3*n.random.unit(), 0.4*n.random.unit()
	change := func(f func(*weather)) {
		for i, row := range n.world.network.ways {
			for j := range row {
				if everywhere || i == h.index || j == h.index {
					f(&row[j])
				}
			}
		}
	}
	change(func(way *weather) {
		switch kind {
		case countSlowWay:
			way.delayMax = max(way.delayMax, delay)
		case countDamagingWay:
			way.damage = 0.2
		default:
			way.loss, way.duplicate, way.reorder = loss, duplicate, reorder
		}
	})
	n.during(500*time.Millisecond, 10*time.Second, func() {
		change(func(way *weather) {
			switch kind {
			case countSlowWay:
				way.delayMax = int64(400 * time.Microsecond)
			case countDamagingWay:
				way.damage = 0
			default:
				way.loss, way.duplicate, way.reorder = 0, 0, 0
			}
		})
	})
}
