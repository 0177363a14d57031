// Package rebuild does to the stores of a host that does not run what its operator wants after a disaster: a shard begins anew from an exported
// snapshot (Import), or goes on with what one survivor has (Recovery). Package nodehost opens the stores of a data directory for it; the
// simulator gives it those of a simulated host. So what runs in production is what the simulator runs.
//
// Nothing here starts goroutines, but that the log store may call back on its own, or looks at a clock.
package rebuild
