package raftpb

// NewNoOp returns the unstamped batch with the single empty entry that a new leader appends in its term.
func NewNoOp(shard uint64) Batch {
	arena := AppendEntry(make([]byte, HeaderSize, HeaderSize+1), nil)
	return SealArena(arena, 1, shard, KindNoOp, Origin{}, 0)
}
