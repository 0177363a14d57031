// Package raftpb holds the data that travels and is stored: messages, batches, and the records of a replica's state.
package raftpb
