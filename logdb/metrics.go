package logdb

// MetricsReporter is implemented by log stores that count what they do.
type MetricsReporter interface {
	// Metrics returns what was counted since the store was opened. Safe for concurrent use, and after Close.
	Metrics() Metrics
}

// Metrics says what a log store has done since it was opened, and what it takes on the disk.
type Metrics struct {
	// Commits counts calls of Commit, Queue those whose done was not called yet.
	Commits uint64
	Queue   int

	// GroupBytes are the sizes of what was written at a time, padding included, in bytes; on Pebble, of what a Commit handed over.
	GroupBytes Distribution
	// Gathered are the numbers of Commits that one write took along. Pebble does not tell.
	Gathered Distribution
	// WriteLatency and SyncLatency are the nanoseconds that writes to the log and syncs of it took. A store that is run by hand measures none.
	WriteLatency, SyncLatency Distribution

	// LogBytes were written to the log, by whatever cause; FileBytes to all files, if the store can tell, else 0.
	LogBytes, FileBytes uint64

	// Rewrites counts files that were emptied by moving what was live in them, or, on Pebble, compactions; RewrittenBytes, what was written again by it.
	Rewrites, RewrittenBytes uint64

	// DiskBytes are the bytes of all files, LiveBytes those of what is still needed, 0 if the store cannot tell.
	DiskBytes, LiveBytes int64
}

// LiveShare returns which share of the bytes on the disk is still needed, 0 if that is not known.
func (m *Metrics) LiveShare() float64 {
	if m.DiskBytes == 0 {
		return 0
	}
	return float64(m.LiveBytes) / float64(m.DiskBytes)
}

// SpaceAmplification returns how many bytes on the disk there are for one that is needed, 0 if that is not known.
func (m *Metrics) SpaceAmplification() float64 {
	if m.LiveBytes == 0 {
		return 0
	}
	return float64(m.DiskBytes) / float64(m.LiveBytes)
}
