package benchmark

import (
	"bytes"
	"os"
	"strconv"
)

// resetPeakMemory makes the system count the process's peak memory from now on, where it can.
func resetPeakMemory() {
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // elsewhere the peak is that of the whole process
}

// peakMemory is the most memory that the process held, in MiB; 0 where the system does not tell.
func peakMemory() float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	return parsePeakMemory(text)
}

// parsePeakMemory finds VmHWM in the text of /proc/self/status.
func parsePeakMemory(text []byte) float64 {
	for line := range bytes.Lines(text) {
		if value, found := bytes.CutPrefix(line, []byte("VmHWM:")); found {
			if fields := bytes.Fields(value); len(fields) > 0 {
				kib, _ := strconv.ParseFloat(string(fields[0]), 64)
				return kib / 1024
			}
		}
	}
	return 0
}
