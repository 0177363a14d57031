// Package raft is the deterministic protocol core of one replica of one shard.
package raft
