// Command flotilla measures the engine, simulates it and tells its version.
//
//	flotilla bench     run the multi-shard benchmark; see flotilla bench --help
//	flotilla sim       run the deterministic simulator; see flotilla sim --help
//	flotilla version   print version and platform
//
// Exit codes:
//
//	0  all is well
//	1  something failed: a start, the end check (a lost, doubled or differing command), or a requirement
//	2  the machine changed so much between two engines that they may not be compared; or the budget of a simulation ended
//	   before its last seed
//	3  a flag, argument or command is wrong; nothing was started
package main
