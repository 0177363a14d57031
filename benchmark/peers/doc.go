// Command peers runs the harness of package benchmark on Flotilla, on other engines, and on the limit.
//
// It is a module of its own: what the other engines depend on is not in the module graph of Flotilla's users.
//
//	peers bench      the steady workload of the harness, as flotilla bench, with every engine
package main
