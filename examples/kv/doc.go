// Command kv is a replicated key-value server over HTTP, small enough to be read in one sitting and copied.
//
// Two commands show it, three servers in one process and a client:
//
//	go run ./examples/kv -demo
//	curl -X PUT -d world 127.0.0.1:8001/keys/hello && curl 127.0.0.1:8002/keys/hello
//
// In earnest every server is a process of its own. The first members of the group are told who they are; a later one
// is told to join:
//
//	kv -id 1 -dir one   -raft 10.0.0.1:7000 -http :8000 -members 1=10.0.0.1:7000,2=10.0.0.2:7000,3=10.0.0.3:7000
//	kv -id 4 -dir four  -raft 10.0.0.4:7000 -http :8000 -join
//
// Restarted with the same directory a server goes on where it was, and -members or -join is not looked at.
//
// # Where to read
//
// The state machine is the one of package rsm/kv: an ordered map, changed by commands in the order of the log, whose snapshots let the log be compacted.
// One of your own is begun by copying that package; rsm/rsmtest says whether it is right. server.go turns HTTP requests into proposals and reads,
// and shows what to do with each kind of error. members.go has what an operator asks for: members, joining, replacing, leadership.
package main
