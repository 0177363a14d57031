package simulation

// eventKind says what is due.
type eventKind uint8

const (
	eventWorker  eventKind = iota // run a woken worker; index: its place
	eventTimer                    // a worker's own deadline may be due; index: its place
	eventDeliver                  // a frame arrives at a host
	eventConnect                  // a host tries to connect a link
	eventBroken                   // a host learns that a connection is lost
	eventDisk                     // a host's disk completes its oldest write
	eventCall                     // call a function of the world
)

// event is one thing that happens at an instant of the world. Events of a host carry its life: they are void once it crashed.
type event struct {
	at    int64
	kind  eventKind
	host  int32 // -1 for the world
	index int32
	life  uint32
	frame *frame
	link  *link
	call  func()
}

// agenda holds what is to come, ordered by (at, order): a binary heap of items without pointers, which are cheap to move, and
// the events themselves in slots that stay where they are.
type agenda struct {
	items []item
	slots []event
	free  []int32
	order uint64
}

type item struct {
	at    int64
	order uint64
	slot  int32
}

func (i *item) before(other *item) bool {
	return i.at < other.at || i.at == other.at && i.order < other.order
}

// next returns the instant of the first event; ok is false if there is none.
func (a *agenda) next() (at int64, ok bool) {
	if len(a.items) == 0 {
		return 0, false
	}
	return a.items[0].at, true
}

func (a *agenda) push(e event) {
	slot := int32(len(a.slots))
	if n := len(a.free); n > 0 {
		slot = a.free[n-1]
		a.free = a.free[:n-1]
		a.slots[slot] = e
	} else {
		a.slots = append(a.slots, e)
	}
	a.order++
	a.items = append(a.items, item{at: e.at, order: a.order, slot: slot})
	i := len(a.items) - 1
	moved := a.items[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !moved.before(&a.items[parent]) {
			break
		}
		a.items[i] = a.items[parent]
		i = parent
	}
	a.items[i] = moved
}

// pop removes the first event; there has to be one.
func (a *agenda) pop() event {
	slot := a.items[0].slot
	e := a.slots[slot]
	a.slots[slot] = event{}
	a.free = append(a.free, slot)
	last := len(a.items) - 1
	moved := a.items[last]
	a.items = a.items[:last]
	if last == 0 {
		return e
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && a.items[child+1].before(&a.items[child]) {
			child++
		}
		if !a.items[child].before(&moved) {
			break
		}
		a.items[i] = a.items[child]
		i = child
	}
	a.items[i] = moved
	return e
}
