package raft

// deque is a queue in one slice. Pushing at the back and popping at the front reuse the memory: no allocation once it has
// grown to the largest length seen. Elements that left are zeroed, so that none pins what it referred to.
type deque[T any] struct {
	items []T
	head  int
}

func (d *deque[T]) len() int { return len(d.items) - d.head }

func (d *deque[T]) at(i int) *T { return &d.items[d.head+i] }

func (d *deque[T]) front() *T { return &d.items[d.head] }

func (d *deque[T]) back() *T { return &d.items[len(d.items)-1] }

func (d *deque[T]) push(item T) {
	if d.head > 0 && len(d.items) == cap(d.items) && d.head >= len(d.items)/2 {
		n := copy(d.items, d.items[d.head:])
		clear(d.items[n:])
		d.items, d.head = d.items[:n], 0
	}
	d.items = append(d.items, item)
}

func (d *deque[T]) popFront() {
	var zero T
	d.items[d.head] = zero
	d.head++
	if d.head == len(d.items) {
		d.items, d.head = d.items[:0], 0
	}
}

func (d *deque[T]) popBack() {
	var zero T
	d.items[len(d.items)-1] = zero
	d.items = d.items[:len(d.items)-1]
	if d.head == len(d.items) {
		d.items, d.head = d.items[:0], 0
	}
}

// removeAt takes out one element and keeps the order of the others.
func (d *deque[T]) removeAt(i int) {
	if i == 0 {
		d.popFront()
		return
	}
	copy(d.items[d.head+i:], d.items[d.head+i+1:])
	d.popBack()
}

func (d *deque[T]) clear() {
	clear(d.items)
	d.items, d.head = d.items[:0], 0
}
