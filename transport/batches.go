package transport

import "github.com/flotilla-raft/flotilla/raftpb"

// OwnBatches prepares messages that a decoder made for Handler.Receive: those that carry batches or a payload get the
// number of the chunk that these alias, and all lists of batches move to one new array, since a decoder uses its own
// again and a handler may keep the lists. It returns whether any message aliases the chunk.
//
// The array is of exactly the size of this frame's batches: a larger one, shared by several frames, would keep all their
// chunks alive as long as any one list.
func OwnBatches(messages []raftpb.Message, chunk uint64) bool {
	count, aliased := 0, false
	for i := range messages {
		m := &messages[i]
		if len(m.Batches) == 0 && len(m.Payload) == 0 {
			continue
		}
		m.Chunk = chunk
		aliased = true
		count += len(m.Batches)
	}
	if count == 0 {
		return aliased
	}
	array := make([]raftpb.Batch, 0, count)
	for i := range messages {
		m := &messages[i]
		if len(m.Batches) == 0 {
			continue
		}
		first := len(array)
		array = append(array, m.Batches...)
		m.Batches = array[first:len(array):len(array)]
	}
	return aliased
}

// PrivateChunk makes the buffers of LaneSnapshot, where others come from Handler.NewChunk.
func PrivateChunk(size int) Chunk { return Chunk{Bytes: make([]byte, size)} }
