package kv

import "slices"

// maxFan is the most items in a leaf, and the most children of an inner node.
const maxFan = 64

// tree is a B+tree that is copied on write; doc.go says how. The zero value is an empty one.
type tree struct {
	root       *node
	generation uint64
}

// node is a leaf if it has no children. keys ascend. A leaf has values[i] under keys[i]. In an inner node children[i] holds what is below keys[i]
// and, for i > 0, not below keys[i-1]: one key less than children. No leaf is empty but a root.
type node struct {
	generation uint64
	keys       []string
	values     [][]byte
	children   []*node
}

// place returns where a key is in a leaf, or belongs.
func (n *node) place(key []byte) (i int, found bool) {
	low, high := 0, len(n.keys)
	for low < high {
		if middle := int(uint(low+high) >> 1); n.keys[middle] < string(key) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, low < len(n.keys) && n.keys[low] == string(key)
}

// child returns which child holds a key.
func (n *node) child(key []byte) int {
	i, found := n.place(key)
	if found {
		i++
	}
	return i
}

func (t *tree) get(key []byte) (value []byte, exists bool) {
	n := t.root
	if n == nil {
		return nil, false
	}
	for n.children != nil {
		n = n.children[n.child(key)]
	}
	if i, found := n.place(key); found {
		return n.values[i], true
	}
	return nil, false
}

// freeze returns the tree as it is: whatever is done to t later does not show in it.
func (t *tree) freeze() *node {
	t.generation++
	return t.root
}

// own returns the node itself, or a copy that may be changed.
func (t *tree) own(n *node) *node {
	if n.generation == t.generation {
		return n
	}
	return &node{t.generation, slices.Clone(n.keys), slices.Clone(n.values), slices.Clone(n.children)}
}

// set puts a value under a key. The tree keeps value, but not key.
func (t *tree) set(key, value []byte) {
	if t.root == nil {
		t.root = &node{generation: t.generation}
	}
	t.root = t.own(t.root)
	if right, separator := t.setBelow(t.root, key, value); right != nil {
		t.root = &node{generation: t.generation, keys: []string{separator}, children: []*node{t.root, right}}
	}
}

// setBelow sets a key below a node that is owned. If that has grown too large it is split: right is the new node behind it.
func (t *tree) setBelow(n *node, key, value []byte) (right *node, separator string) {
	if n.children == nil {
		i, found := n.place(key)
		if found {
			n.values[i] = value
			return nil, ""
		}
		n.keys = slices.Insert(n.keys, i, string(key))
		n.values = slices.Insert(n.values, i, value)
		if len(n.keys) <= maxFan {
			return nil, ""
		}
		return t.splitLeaf(n, i)
	}
	i := n.child(key)
	n.children[i] = t.own(n.children[i])
	below, separator := t.setBelow(n.children[i], key, value)
	if below == nil {
		return nil, ""
	}
	n.keys = slices.Insert(n.keys, i, separator)
	n.children = slices.Insert(n.children, i+1, below)
	if len(n.children) <= maxFan {
		return nil, ""
	}
	return t.splitInner(n, i+1)
}

// half returns how many stay where they are when a node is split: half, or nearly all if the newest is the last, so that keys which
// arrive in order, as in a recovery, fill their nodes.
func half(length, newest int) int {
	if newest == length-1 {
		return length - 1
	}
	return length / 2
}

func (t *tree) splitLeaf(n *node, newest int) (right *node, separator string) {
	stay := half(len(n.keys), newest)
	right = &node{generation: t.generation, keys: slices.Clone(n.keys[stay:]), values: slices.Clone(n.values[stay:])}
	clear(n.keys[stay:])
	clear(n.values[stay:])
	n.keys, n.values = n.keys[:stay], n.values[:stay]
	return right, right.keys[0]
}

func (t *tree) splitInner(n *node, newest int) (right *node, separator string) {
	stay := half(len(n.children), newest)
	separator = n.keys[stay-1]
	right = &node{generation: t.generation, keys: slices.Clone(n.keys[stay:]), children: slices.Clone(n.children[stay:])}
	clear(n.keys[stay-1:])
	clear(n.children[stay:])
	n.keys, n.children = n.keys[:stay-1], n.children[:stay]
	return right, separator
}

// remove removes a key that is there.
func (t *tree) remove(key []byte) {
	t.root = t.own(t.root)
	if t.removeBelow(t.root, key) {
		t.root = nil
		return
	}
	for len(t.root.children) == 1 {
		t.root = t.root.children[0]
	}
}

// removeBelow removes a key below a node that is owned, and reports whether nothing is left of it.
func (t *tree) removeBelow(n *node, key []byte) (empty bool) {
	if n.children == nil {
		i, _ := n.place(key)
		n.keys = slices.Delete(n.keys, i, i+1)
		n.values = slices.Delete(n.values, i, i+1)
		return len(n.keys) == 0
	}
	i := n.child(key)
	n.children[i] = t.own(n.children[i])
	if !t.removeBelow(n.children[i], key) {
		return false
	}
	n.children = slices.Delete(n.children, i, i+1)
	if len(n.children) == 0 {
		return true
	}
	// The neighbour takes over the range; of the first child that is the second.
	at := max(i-1, 0)
	n.keys = slices.Delete(n.keys, at, at+1)
	return false
}

// ascend hands items from a key on to yield, in order, until it says no. It reports whether it never did.
func (n *node) ascend(from string, yield func(key string, value []byte) bool) bool {
	if n == nil {
		return true
	}
	if n.children != nil {
		for i := n.child([]byte(from)); i < len(n.children); i++ {
			if !n.children[i].ascend(from, yield) {
				return false
			}
		}
		return true
	}
	for i, _ := n.place([]byte(from)); i < len(n.keys); i++ {
		if !yield(n.keys[i], n.values[i]) {
			return false
		}
	}
	return true
}
