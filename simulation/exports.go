package simulation

import (
	"bytes"
	"io"
	"slices"

	"github.com/flotilla-raft/flotilla/snapshot"
)

// export is a snapshot that was written out, with the life of the shard that it is of.
type export struct {
	of    *shard
	meta  snapshotPoint
	bytes []byte
}

type snapshotPoint struct{ index, term uint64 }

// keptExports is how many exports of a shard are kept, the newest.
const keptExports = 3

// export asks a replica for a snapshot and copies the file out, as its operator would.
func (n *nemesis) export(h *host) bool {
	p := h.places[n.random.below(len(h.places))]
	if p == nil || p.state != placeRunning || !p.replica.KeepsFiles() {
		return false
	}
	n.note(h, counterNames[countExport], p.shard.id, 0)
	life, replica := h.life, p.replica
	replica.Snapshot(func(_ uint64, err error) {
		if err == nil {
			n.world.after(0, func() {
				if h.life == life && h.up && p.present() && p.replica == replica {
					p.writeOut()
				}
			})
		}
	})
	h.wake()
	return true
}

// writeOut copies the newest snapshot. One that is damaged is no export.
func (p *place) writeOut() {
	w, h := p.host.world, p.host
	names := p.replica.Snapshots()
	if len(names) == 0 {
		return
	}
	data, err := readWhole(h.snapshots.memory, h.snapshots.directory.Path(names[0]))
	if err != nil {
		return // a newer one has taken its place
	}
	summary, err := snapshot.Verify(bytes.NewReader(data), nil)
	if err != nil {
		w.counters.add(countExportRefused, 1)
		if !h.snapshots.isFlipped(p) {
			w.violate("snapshot", "%s: its snapshot cannot be exported: %v", p.describe(), err)
		}
		return
	}
	s := p.shard
	x := &export{of: s, meta: snapshotPoint{summary.Meta.Index, summary.Meta.Term}, bytes: data}
	if x.meta.index > s.proven || uint64(len(s.history(x.meta.index, x.meta.term))) != x.meta.index {
		w.violate("snapshot", "%s: an exported snapshot is of entry %d of term %d, which is not decided", p.describe(), x.meta.index, x.meta.term)
		return
	}
	s.exports = append(s.exports, x)
	if len(s.exports) > keptExports {
		s.exports = slices.Delete(s.exports, 0, 1)
	}
	w.counters.add(countExported, 1)
}

// file reads the export, or a copy in which a bit is flipped.
func (x *export) file(damaged bool, r *random) func(uint64, func(io.Reader) error) error {
	data := x.bytes
	if damaged {
		data = slices.Clone(data)
		data[r.below(len(data))] ^= 1 << r.below(8)
	}
	return func(_ uint64, read func(io.Reader) error) error { return read(bytes.NewReader(data)) }
}
