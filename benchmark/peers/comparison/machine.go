package comparison

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// Machine says where figures were measured.
type Machine struct {
	Processor  string  `json:"processor"`
	Cores      int     `json:"cores"`
	MemoryGiB  float64 `json:"memory_gib"`
	System     string  `json:"system"`
	FileSystem string  `json:"file_system"` // of the data directory
	Go         string  `json:"go"`
	GOMAXPROCS int     `json:"gomaxprocs"`
}

// String is one line.
func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, %.0f GiB, %s, %s, %s, GOMAXPROCS %d", m.Processor, m.Cores, m.MemoryGiB, m.System, m.FileSystem, m.Go, m.GOMAXPROCS)
}

// ThisMachine looks at the machine. What it does not tell is "unknown".
func ThisMachine(data string) Machine {
	m := Machine{
		Processor: "unknown", System: runtime.GOOS, FileSystem: "unknown", Cores: runtime.NumCPU(), Go: runtime.Version(), GOMAXPROCS: runtime.GOMAXPROCS(0),
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.Processor = after(text, "model name", m.Processor)
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		kib, _ := strconv.ParseFloat(strings.TrimSuffix(after(text, "MemTotal", "0 kB"), " kB"), 64)
		m.MemoryGiB = kib / (1 << 20)
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.System += " " + strings.TrimSpace(string(text))
	}
	if output, err := exec.Command("stat", "-f", "-c", "%T", data).Output(); err == nil {
		m.FileSystem = strings.TrimSpace(string(output))
	}
	return m
}

// after returns what follows a word and a colon at the beginning of a line.
func after(text []byte, word, otherwise string) string {
	for line := range bytes.Lines(text) {
		name, value, found := strings.Cut(string(line), ":")
		if found && strings.TrimSpace(name) == word {
			return strings.TrimSpace(value)
		}
	}
	return otherwise
}
