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
	if p == nil || p.state != placeRunning || !p.replica.KeepsFiles() && !n.world.exportsOnDisk(p) {
		return false
	}
	n.note(h, counterNames[countExport], p.shard.id, 0)
	life, replica := h.life, p.replica
	if !replica.KeepsFiles() {
		p.streamOut()
		h.wake()
		return true
	}
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
	p.exported(&summary, data)
}

// exportsOnDisk says whether state machines on disk are exported: in half of the seeds, and in none that was kept before that was done.
func (w *World) exportsOnDisk(p *place) bool {
	draws := random{state: mix(w.options.Seed ^ 0x73747265616d6572)}
	return p.shard.machineKind.onDisk() && !p.witness() && draws.chance(0.5)
}

// streamOut has a state machine on disk written out, which goes on meanwhile.
func (p *place) streamOut() {
	h, replica, life := p.host, p.replica, p.host.life
	var data bytes.Buffer
	var summary snapshot.Summary
	replica.Export(func(save func(io.Writer) (snapshot.Summary, error)) (err error) {
		summary, err = save(&data)
		return err
	}, func(err error) {
		if err != nil || h.life != life || !h.up || !p.present() || p.replica != replica {
			return
		}
		w := h.world
		if found, err := snapshot.Verify(bytes.NewReader(data.Bytes()), nil); err != nil || found.Meta.Index != summary.Meta.Index {
			w.violate("snapshot", "%s: what was exported of its state machine is no snapshot of entry %d: %v", p.describe(), summary.Meta.Index, err)
			return
		}
		w.counters.add(countMachineExported, 1)
		p.exported(&summary, data.Bytes())
	})
}

// exported keeps an export. It is of something that is decided.
func (p *place) exported(summary *snapshot.Summary, data []byte) {
	w, s := p.host.world, p.shard
	x := &export{of: s, meta: snapshotPoint{summary.Meta.Index, summary.Meta.Term}, bytes: data}
	s.proveByTime(x.meta.index, x.meta.term)
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
