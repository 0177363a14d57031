// Package profiling finds out where the time of a run goes. It takes profiles of exactly what the harness measures, and groups the
// samples of the CPU profile by the part of the engine that they were taken in.
//
// There are two passes, each a run of its own, since the second costs what the first would measure: the first takes the CPU and allocation
// profiles; the second the mutex and block profiles, the scheduler's own figures, and a second of execution trace.
//
// A sample belongs to the first of its frames, from the innermost outwards, that a rule of rules knows. So the state machine's
// code is part of applying, a completion callback inside it is the client's, and what the client's next Propose does in the engine
// is the client's too. System calls are a group of their own, divided by who made them.
package profiling
