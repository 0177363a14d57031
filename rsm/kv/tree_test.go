package kv

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// contents returns what is reachable from a root.
func contents(root *node) map[string]string {
	found := map[string]string{}
	root.ascend("", func(key string, value []byte) bool {
		found[key] = string(value)
		return true
	})
	return found
}

// checkTree checks the shape that doc.go promises: order, bounds, fan, no empty leaf, equal depth.
func checkTree(t interface{ Fatalf(string, ...any) }, n *node, low, high string) (depth int) {
	if n == nil {
		return 0
	}
	inside := func(key string) bool { return key >= low && (high == "" || key < high) }
	if !slices.IsSorted(n.keys) || len(slices.Compact(slices.Clone(n.keys))) != len(n.keys) {
		t.Fatalf("keys do not ascend: %q", n.keys)
	}
	for _, key := range n.keys {
		if !inside(key) {
			t.Fatalf("key %q outside of [%q, %q)", key, low, high)
		}
	}
	if n.children == nil {
		if len(n.keys) == 0 || len(n.keys) > maxFan || len(n.values) != len(n.keys) {
			t.Fatalf("leaf of %d keys, %d values", len(n.keys), len(n.values))
		}
		return 1
	}
	if len(n.children) > maxFan || len(n.keys) != len(n.children)-1 || len(n.children) == 0 {
		t.Fatalf("inner node of %d keys, %d children", len(n.keys), len(n.children))
	}
	bounds := append(append([]string{low}, n.keys...), high)
	for i, child := range n.children {
		if below := checkTree(t, child, bounds[i], bounds[i+1]); i > 0 && below+1 != depth {
			t.Fatalf("depths %d and %d", below+1, depth)
		} else {
			depth = below + 1
		}
	}
	return depth
}

// A tree holds what a map would, and what was frozen stays what it was.
func TestTreeAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		space := rapid.SampledFrom([]int{5, 200, 20000}).Draw(t, "keys")
		steps := rapid.IntRange(1, 3000).Draw(t, "steps")
		var tree tree
		model := map[string]string{}
		type frozen struct {
			root *node
			want map[string]string
		}
		var views []frozen
		for step := range steps {
			key := fmt.Sprintf("%05d", random.IntN(space))
			removing := random.IntN(100) < 30+40*(step*4/steps%2) // phases in which the tree grows and shrinks
			value, exists := tree.get([]byte(key))
			if want, there := model[key]; there != exists || want != string(value) {
				t.Fatalf("%s is %q, %v, want %q, %v", key, value, exists, want, there)
			}
			switch {
			case removing && exists:
				tree.remove([]byte(key))
				delete(model, key)
			case !removing:
				tree.set([]byte(key), fmt.Append(nil, step))
				model[key] = fmt.Sprint(step)
			}
			if random.IntN(steps) < 5 {
				views = append(views, frozen{tree.freeze(), maps.Clone(model)})
			}
		}
		for _, view := range append(views, frozen{tree.root, model}) {
			if got := contents(view.root); !maps.Equal(got, view.want) {
				t.Fatalf("%d items, want %d", len(got), len(view.want))
			}
		}
		if tree.root != nil {
			checkTree(t, tree.root, "", "")
		}
	})
}

// Keys that arrive in order fill their nodes: a recovered state takes no more memory than one that was never saved.
func TestKeysInOrderFillTheTree(t *testing.T) {
	var tree tree
	const keys = 100_000
	for i := range keys {
		tree.set(fmt.Appendf(nil, "%08d", i), nil)
	}
	leaves := 0
	var count func(n *node)
	count = func(n *node) {
		if n.children == nil {
			leaves++
		}
		for _, child := range n.children {
			count(child)
		}
	}
	count(tree.root)
	checkTree(t, tree.root, "", "")
	if leaves > keys/maxFan+1 {
		t.Errorf("%d leaves of %d for %d keys", leaves, maxFan, keys)
	}
}

// Prepare costs the same whatever the state is, and a frozen tree is copied in parts only.
func TestAllocationsOfPrepare(t *testing.T) {
	m := New()
	for i := range 100_000 {
		m.tree.set(fmt.Appendf(nil, "%08d", i), nil)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = m.Prepare() }); n > 1 {
		t.Errorf("Prepare allocates %v times", n)
	}
	value := []byte("value")
	if n := testing.AllocsPerRun(100, func() {
		m.tree.freeze()
		m.tree.set([]byte("00050000"), value)
	}); n > 12 {
		t.Errorf("a change of a frozen tree allocates %v times", n)
	}
}
