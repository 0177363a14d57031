package seglog

import (
	"strings"
	"testing"
)

// TestEveryCutWhilePacking cuts the power after every write, sync and change of a name where small batches stand in blocks of their own and nothing is compacted, so that most of what is written is moved
// together by the keeper.
func TestEveryCutWhilePacking(t *testing.T) {
	for seed := range uint64(share(2, 1)) {
		w := newWorkload(seed+40, 3, 100)
		h := &history{}
		model := h.begin(t, w.keys())
		for range share(90, 70) {
			l := w.logs[w.random.IntN(len(w.logs))]
			c := w.append(l, 1)
			c.key = l.key
			h.add(t, model, c)
		}
		events := recordRun(t, h, 0)
		removed := 0
		for _, e := range events {
			if e.what == "remove" || e.what == "rename" && strings.HasSuffix(e.to, spareSuffix) {
				removed++
			}
		}
		if removed < share(3, 1) {
			t.Errorf("seed %d: only %d segments were emptied", seed, removed)
		}
		t.Logf("%d points", enumerate(t, h, events, seed, share(2, 1)))
	}
}
