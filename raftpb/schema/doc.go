// Package schema is the Go code that protoc-gen-go makes of flotilla.proto, the contract of what package raftpb writes and
// reads by hand. The engine does not use it: tests hold both codecs against each other with it, and tools may read frames
// and records with it.
//
// To generate it again, byte for byte (with -check after the dot: to verify that nothing would change):
//
//	go -C tools/protogen run . ../.. raftpb/schema/flotilla.proto
package schema
