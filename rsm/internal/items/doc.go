// Package items is what the ready-made key-value state machines share: the stream of keys and values in their snapshots, and a sum over them that
// is kept up to date change by change.
//
//	item     ┌────────┬─────┬────────┬───────┐
//	  n      │ length │ key │ length │ value │    lengths are uvarints; keys ascend and are not empty
//	         └────────┴─────┴────────┴───────┘
//	end      ┌───┬───────┬─────┐
//	         │ 0 │ count │ sum │                  8 bytes each, little-endian
//	         └───┴───────┴─────┘
//
// The checksums of the snapshot file say that the bytes are those that were written. Count and sum say more: that what was written is
// what the machine believed to have.
package items
