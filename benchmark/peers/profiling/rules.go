package profiling

import "strings"

// The groups.
const (
	client       = "client"
	step         = "step"
	logWriter    = "log writer"
	transport    = "transport"
	apply        = "apply"
	collector    = "garbage collector"
	scheduler    = "scheduler"
	systemCalls  = "system calls"
	harness      = "harness"
	unattributed = "unattributed"
)

// groups lists them in the order of the breakdown.
func groups() []string {
	return []string{client, step, logWriter, transport, apply, collector, scheduler, systemCalls, harness, unattributed}
}

const module = "github.com/flotilla-raft/flotilla/"

// rule gives the functions whose name begins with a prefix to a group.
type rule struct{ prefix, group string }

// rules are asked in order for each frame, from the innermost outwards.
func rules() []rule {
	all := []rule{
		{"runtime.gcBgMarkWorker", collector}, {"runtime.gcAssist", collector}, {"runtime.gcDrain", collector}, {"runtime.gcStart", collector},
		{"runtime.gcMark", collector}, {"runtime.gcSweep", collector}, {"runtime.bgsweep", collector}, {"runtime.bgscavenge", collector},
		{"runtime.sweepone", collector}, {"runtime.(*mspan).sweep", collector}, {"runtime.wbBufFlush", collector}, {"runtime.scanobject", collector},
		{"runtime.scanblock", collector}, {"runtime.scanstack", collector}, {"runtime.gcWriteBarrier", collector}, {"gcWriteBarrier", collector},
		{"runtime.(*mheap).reclaim", collector}, {"runtime._GC", collector}, {"runtime.runfinq", collector}, {"runtime.(*sweepLocked)", collector},
		{"runtime.(*pageAlloc).scavenge", collector}, {"runtime.(*gcWork)", collector}, {"runtime.markroot", collector}, {"runtime.greyobject", collector},

		{"runtime.schedule", scheduler}, {"runtime.findRunnable", scheduler}, {"runtime.park_m", scheduler}, {"runtime.mcall", scheduler},
		{"runtime.goschedImpl", scheduler}, {"runtime.mstart", scheduler}, {"runtime.wakep", scheduler}, {"runtime.ready", scheduler},
		{"runtime.goready", scheduler}, {"runtime.startm", scheduler}, {"runtime.notewakeup", scheduler}, {"runtime.netpoll", scheduler},
		{"runtime.sysmon", scheduler}, {"runtime.stealWork", scheduler}, {"runtime.futex", scheduler}, {"runtime.exitsyscall", scheduler},
		{"runtime.entersyscall", scheduler}, {"runtime.reentersyscall", scheduler}, {"runtime.goexit0", scheduler}, {"runtime.morestack", scheduler},
		{"runtime.preempt", scheduler}, {"runtime.asyncPreempt", scheduler}, {"runtime.gopreempt", scheduler}, {"runtime.gosched", scheduler},
		{"runtime.checkTimers", scheduler}, {"runtime.(*timers)", scheduler}, {"runtime.newstack", scheduler}, {"runtime.stopm", scheduler},
		{"runtime.usleep", scheduler}, {"runtime.osyield", scheduler}, {"runtime.handoffp", scheduler}, {"runtime.retake", scheduler},
		{"runtime.sigtramp", scheduler}, {"runtime.sighandler", scheduler}, {"runtime.execute", scheduler}, {"runtime.injectglist", scheduler},

		{"runtime/pprof.", harness}, {"runtime.profile", harness}, {"github.com/HdrHistogram", client},
	}
	for _, r := range []rule{
		{"benchmark.(*Machine)", apply}, {"benchmark.machineAdapter", apply}, {"benchmark.readCommand", apply}, {"benchmark.chain", apply},
		{"benchmark.(*measurement)", harness}, {"benchmark.drain", harness}, {"benchmark.readUsage", harness}, {"benchmark/network.", transport},
		{"benchmark/limit.(*log)", logWriter}, {"benchmark/limit.(*link)", transport}, {"benchmark/limit.(*host).receive", transport},
		{"benchmark/limit.(*caller)", client}, {"benchmark/limit.", step}, {"benchmark/countfs.", logWriter}, {"benchmark", client},
		{"nodehost.(*Shard)", client}, {"nodehost.", step},
		{"engine.(*applyWorker)", apply}, {"engine.(*applyPool)", apply}, {"rsm.", apply}, {"engine.(*StepWorker)", step}, {"raft.", step},
		{"engine.(*logWriter)", logWriter}, {"engine.(*logReader)", logWriter}, {"engine.(*promiseKeeper)", logWriter}, {"engine.(*eventQueue)", step},
		{"plugin/seglog.", logWriter}, {"logdb/pebblelog.", logWriter}, {"transport/", transport}, {"plugin/memnet", transport},
		{"engine.loop", step},
	} {
		all = append(all, rule{module + r.prefix, r.group})
	}
	return append(all, rule{"github.com/cockroachdb/pebble", logWriter})
}

// isSystemCall says whether a function is where a thread enters the kernel.
func isSystemCall(function string) bool {
	for _, prefix := range []string{"internal/runtime/syscall", "syscall.Syscall", "syscall.RawSyscall", "syscall.rawSyscall", "runtime/internal/syscall."} {
		if strings.HasPrefix(function, prefix) {
			return true
		}
	}
	return false
}

// isAllocation says whether a function makes an object.
func isAllocation(function string) bool {
	return strings.HasPrefix(function, "runtime.mallocgc") || strings.HasPrefix(function, "runtime.growslice")
}

// groupOf attributes a stack, innermost frame first; caller is who made a system call.
func groupOf(stack []string, known []rule) (group, caller string, allocates bool) {
	group = unattributed
	for _, function := range stack {
		allocates = allocates || isAllocation(function)
	}
search:
	for _, function := range stack {
		for _, r := range known {
			if strings.HasPrefix(function, r.prefix) {
				group = r.group
				break search
			}
		}
	}
	if len(stack) > 0 && isSystemCall(stack[0]) && group != scheduler && group != collector {
		return systemCalls, group, allocates
	}
	return group, "", allocates
}
