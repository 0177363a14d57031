package memnet

// packet is one encoded frame on its way.
type packet struct {
	due      int64 // instant from which it may be delivered
	sequence uint64
	frame    []byte
}

// packetQueue holds packets ordered by (due, sequence). Packets mostly come in that order already.
type packetQueue struct {
	packets []packet
	head    int // index of the first one; those before it are empty
}

func (q *packetQueue) len() int { return len(q.packets) - q.head }

func (q *packetQueue) first() *packet { return &q.packets[q.head] }

// insert puts p, whose sequence is above all others, in its place.
func (q *packetQueue) insert(p packet) {
	if q.head > 64 && q.head > len(q.packets)/2 {
		n := copy(q.packets, q.packets[q.head:])
		clear(q.packets[n:])
		q.packets, q.head = q.packets[:n], 0
	}
	q.packets = append(q.packets, p)
	for i := len(q.packets) - 1; i > q.head && q.packets[i-1].due > p.due; i-- {
		q.packets[i-1], q.packets[i] = q.packets[i], q.packets[i-1]
	}
}

// take removes the first packet.
func (q *packetQueue) take() packet {
	p := q.packets[q.head]
	q.packets[q.head] = packet{}
	q.head++
	if q.head == len(q.packets) {
		q.packets, q.head = q.packets[:0], 0
	}
	return p
}
