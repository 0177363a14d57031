package benchmark

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	yardstickSyncs  = 200 // in a round
	yardstickRounds = 15  // at most
	yardstickAgree  = 1.05
	yardstickRecord = 128     // bytes appended before each sync
	yardstickWords  = 1 << 23 // of the loop: about 20 ms
	yardstickLoops  = 5

	// maxYardstickMove is how far a yardstick may move between two engines that are compared.
	maxYardstickMove = 0.15
)

// Yardsticks tell how fast the machine was at the time, by work that is no engine's.
type Yardsticks struct {
	// FdatasyncP50 is the median time of appending 128 bytes to a file and syncing it, in microseconds.
	FdatasyncP50 float64 `json:"fdatasync_p50_us"`
	// StealPercent is the share of processor time that the machine's host gave to others.
	StealPercent float64 `json:"steal_percent"`
	// CPULoop is the least time of a fixed loop on one processor, in milliseconds.
	CPULoop float64 `json:"cpu_loop_ms"`
}

// measureYardsticks takes between a fifth of a second and one. What an earlier run left unwritten is flushed first, or it would be
// measured here. Steal time is left at 0: it belongs to the span of a run.
func measureYardsticks(directory string) (Yardsticks, error) {
	runtime.GC()
	unix.Sync()
	name := filepath.Join(directory, "yardstick")
	file, err := os.Create(name)
	if err != nil {
		return Yardsticks{}, fmt.Errorf("benchmark: yardstick: %w", err)
	}
	defer os.Remove(name)
	defer file.Close()
	syncTime, err := leastSyncTime(func() (time.Duration, error) { return medianSyncTime(file) })
	if err != nil {
		return Yardsticks{}, fmt.Errorf("benchmark: yardstick: %w", err)
	}
	return Yardsticks{
		FdatasyncP50: float64(syncTime) / float64(time.Microsecond),
		CPULoop:      float64(loopTime()) / float64(time.Millisecond),
	}, nil
}

// medianSyncTime is one round of appends, each followed by a sync.
func medianSyncTime(file *os.File) (time.Duration, error) {
	record := make([]byte, yardstickRecord)
	took := make([]time.Duration, yardstickSyncs)
	for i := range took {
		begin := time.Now()
		if _, err := file.Write(record); err != nil {
			return 0, err
		}
		if err := syncData(file); err != nil {
			return 0, err
		}
		took[i] = time.Since(begin)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// leastSyncTime repeats rounds until the two least agree, and returns the least: a device is still busy with an earlier run's
// files for a while, which can only make a round longer. One that stays slow stays slow in every round.
func leastSyncTime(round func() (time.Duration, error)) (time.Duration, error) {
	var rounds []time.Duration
	for range yardstickRounds {
		took, err := round()
		if err != nil {
			return 0, err
		}
		rounds = append(rounds, took)
		slices.Sort(rounds)
		if len(rounds) >= 3 && float64(rounds[1]) <= yardstickAgree*float64(rounds[0]) {
			break
		}
	}
	return rounds[0], nil
}

// loopTime is the least of several runs: what interrupts a loop can only make it longer.
func loopTime() time.Duration {
	least := time.Duration(math.MaxInt64)
	word := uint64(1)
	for range yardstickLoops {
		begin := time.Now()
		for range yardstickWords {
			word = mix(word)
		}
		least = min(least, time.Since(begin))
	}
	if word == 0 { // never, but the compiler cannot know and has to run the loop
		return 0
	}
	return least
}

// between joins the yardsticks before and after a run with the steal time of the run itself.
func between(before, after Yardsticks, stealPercent float64) Yardsticks {
	return Yardsticks{
		FdatasyncP50: (before.FdatasyncP50 + after.FdatasyncP50) / 2,
		StealPercent: stealPercent,
		CPULoop:      (before.CPULoop + after.CPULoop) / 2,
	}
}

// moved lists the yardsticks that differ by more than the limit: the first and last by their ratio, steal time by percentage
// points, since its own ratio means nothing near 0.
func (y Yardsticks) moved(other Yardsticks) []string {
	var moves []string
	ratio := func(name string, a, b float64) {
		if greater, less := max(a, b), min(a, b); greater > less*(1+maxYardstickMove) {
			moves = append(moves, fmt.Sprintf("%s moved from %.4g to %.4g", name, a, b))
		}
	}
	ratio("fdatasync_p50_us", y.FdatasyncP50, other.FdatasyncP50)
	ratio("cpu_loop_ms", y.CPULoop, other.CPULoop)
	if math.Abs(y.StealPercent-other.StealPercent) > 100*maxYardstickMove {
		moves = append(moves, fmt.Sprintf("steal_percent moved from %.1f to %.1f", y.StealPercent, other.StealPercent))
	}
	return moves
}
