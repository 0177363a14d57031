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
	order uint64 // in which they were scheduled, for equal instants
	kind  eventKind
	host  int32 // -1 for the world
	index int32
	life  uint32
	frame *frame
	link  *link
	call  func()
}

// agenda is a binary heap of events, ordered by (at, order).
type agenda struct {
	events []event
	order  uint64
}

func (a *agenda) before(i, j int) bool {
	x, y := &a.events[i], &a.events[j]
	return x.at < y.at || x.at == y.at && x.order < y.order
}

func (a *agenda) push(e event) {
	a.order++
	e.order = a.order
	a.events = append(a.events, e)
	i := len(a.events) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !a.before(i, parent) {
			return
		}
		a.events[i], a.events[parent] = a.events[parent], a.events[i]
		i = parent
	}
}

// pop removes the first event; there has to be one.
func (a *agenda) pop() event {
	first := a.events[0]
	last := len(a.events) - 1
	a.events[0] = a.events[last]
	a.events[last] = event{}
	a.events = a.events[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return first
		}
		if child+1 < last && a.before(child+1, child) {
			child++
		}
		if !a.before(child, i) {
			return first
		}
		a.events[i], a.events[child] = a.events[child], a.events[i]
		i = child
	}
}
