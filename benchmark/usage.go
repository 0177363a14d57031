package benchmark

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ProcessUsage is what the process has used up to a moment. Figures that the system does not tell stay 0.
type ProcessUsage struct {
	At        time.Time
	CPU       time.Duration // user and system time of all threads
	DiskBytes uint64        // handed to the block layer, or dirtied on their way there
}

// ReadProcessUsage asks the system.
func ReadProcessUsage() ProcessUsage {
	u := ProcessUsage{At: time.Now()}
	var rusage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &rusage) == nil {
		u.CPU = time.Duration(rusage.Utime.Nano() + rusage.Stime.Nano())
	}
	if text, err := os.ReadFile("/proc/self/io"); err == nil {
		u.DiskBytes = parseProcessIO(text)
	}
	return u
}

// usage is that and what else is looked at over a measurement.
type usage struct {
	ProcessUsage
	allocs             uint64 // objects
	allocBytes         uint64
	steal, idle, ticks uint64 // of all processors of the machine
}

// readUsage stops the world for a moment, so it is called at the two ends of a measurement only.
func readUsage() usage {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	u := usage{ProcessUsage: ReadProcessUsage(), allocs: memory.Mallocs, allocBytes: memory.TotalAlloc}
	if text, err := os.ReadFile("/proc/stat"); err == nil {
		u.steal, u.idle, u.ticks = parseProcessorTicks(text)
	}
	return u
}

// stealPercent is the share of the machine's processor time since an earlier moment that its host gave to others.
func (u usage) stealPercent(since usage) float64 {
	if u.ticks == since.ticks {
		return 0
	}
	return 100 * float64(u.steal-since.steal) / float64(u.ticks-since.ticks)
}

// otherPercent is the share of the machine's processor time since an earlier moment that neither this process used nor nobody. The two
// clocks differ in how they round, so it is never less than 0.
func (u usage) otherPercent(since usage) float64 {
	span := u.At.Sub(since.At).Seconds() * float64(runtime.NumCPU())
	if u.ticks == since.ticks || span <= 0 {
		return 0
	}
	busy := 1 - float64(u.idle-since.idle)/float64(u.ticks-since.ticks)
	return max(0, 100*(busy-(u.CPU-since.CPU).Seconds()/span))
}

// parseProcessIO finds write_bytes in the text of /proc/self/io.
func parseProcessIO(text []byte) uint64 {
	for line := range bytes.Lines(text) {
		if value, found := bytes.CutPrefix(line, []byte("write_bytes:")); found {
			bytes, _ := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 64)
			return bytes
		}
	}
	return 0
}

// parseProcessorTicks reads the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal. The guest times
// behind are part of user and nice.
func parseProcessorTicks(text []byte) (steal, idle, total uint64) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return 0, 0, 0
	}
	for i, field := range fields[1:9] {
		ticks, err := strconv.ParseUint(string(field), 10, 64)
		if err != nil {
			return 0, 0, 0
		}
		total += ticks
		if steal = ticks; i == 3 || i == 4 {
			idle += ticks
		}
	}
	return steal, idle, total
}
