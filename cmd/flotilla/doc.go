// Command flotilla measures and simulates the engine, and looks after the data of stopped hosts; docs/operations.md says how they are backed up,
// restored and repaired.
//
//	flotilla bench      run the multi-shard benchmark; see flotilla bench --help
//	flotilla sim        run the deterministic simulator; see flotilla sim --help
//	flotilla log        look at logs: inspect, verify, dump
//	flotilla snapshot   snapshot files: verify one, import one on a stopped host
//	flotilla recover    rebuild a shard that lost its quorum from a survivor
//	flotilla repair     have a replica rebuilt from the others
//	flotilla version    print version and platform
//
// Exit codes:
//
//	0  all is well
//	1  something failed: a start, the end check (a lost, doubled or differing command), or a requirement; something is damaged, or was refused
//	2  the machine changed so much between two engines that they may not be compared; or the budget of a simulation ended
//	   before its last seed
//	3  a flag, argument or command is wrong; nothing was started
package main
