// Package flotilla puts the engine behind the benchmark harness: a cluster of NodeHosts in this process, each with a directory
// and a loopback address of its own, on the log store and transport that the flags name.
package flotilla
