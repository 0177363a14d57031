package comparison

import (
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// Row is one question that the comparison answers.
type Row struct {
	// Name is what ROWS selects it by, "P1" to "P12", or "sweep".
	Name, Title string
	Cases       []Case
	// Targets are what Flotilla is to reach in this row.
	Targets []Target
}

// Case is a load, and who is under it.
type Case struct {
	// Name is unique: the row's, or that and what is special about the case behind a slash.
	Name string
	// Load says what differs from the harness's defaults.
	Load func(*benchmark.Config)
	// Subjects are the names of what is measured, in the order of turns; the first is Flotilla.
	Subjects []string
	// Duration and Repeat default to Options.
	Duration time.Duration
	Repeat   int
	// EqualHeap gives every subject the same memory to fill before it has to collect garbage.
	EqualHeap bool
	// OfferedShare makes an open loop of this share of the median rate of the case named Peak, which ran before.
	OfferedShare float64
	Peak         string
	// FullOnly leaves the case out of a quick run.
	FullOnly bool
	// Refusals makes it the case of what one refusal costs, without any other load.
	Refusals bool
}

// Subject is an engine in one configuration.
type Subject struct {
	Name string
	// Engine is the harness's name of it, with or without the suffix for blocking calls; LogDB its log store, where it has a choice.
	Engine, LogDB string
	// FullOnly leaves the subject out of quick runs: it is never the best of its kind, or takes long to fail.
	FullOnly bool
}

// Names of subjects that targets speak of.
const (
	Flotilla  = "flotilla"
	Limit     = "limit"
	Hashicorp = "hashicorp"
	// Dragonboat stands, in a Target, for whichever of its configurations had the highest rate in the case.
	Dragonboat = "dragonboat"

	otherStore        = "flotilla-other-store"
	limitOverwriting  = "limit-overwriting"
	dragonboatDefault = "dragonboat-default"
	dragonboatTan     = "dragonboat-tan"

	blocking = benchmark.BlockingSuffix
)

// Subjects lists all there are. Flotilla stands for its defaults, log store included; its other log store is named for itself.
func Subjects() []Subject {
	byDefault := benchmark.DefaultConfig(Flotilla).LogDB
	other := "seglog"
	if byDefault == other {
		other = "pebble"
	}
	return []Subject{
		{Name: Flotilla, Engine: "flotilla", LogDB: byDefault},
		{Name: otherStore, Engine: "flotilla", LogDB: other},
		{Name: Limit, Engine: "limit", LogDB: byDefault},
		{Name: limitOverwriting, Engine: "limit-overwriting", LogDB: byDefault, FullOnly: true},
		{Name: Dragonboat, Engine: "dragonboat", LogDB: byDefault},
		{Name: dragonboatDefault, Engine: "dragonboat-default", LogDB: byDefault, FullOnly: true},
		{Name: dragonboatTan, Engine: "dragonboat-tan", LogDB: byDefault},
		{Name: Hashicorp, Engine: "hashicorp", LogDB: byDefault},
		{Name: Flotilla + blocking, Engine: "flotilla" + blocking, LogDB: byDefault},
		{Name: Limit + blocking, Engine: "limit" + blocking, LogDB: byDefault},
		{Name: Dragonboat + blocking, Engine: "dragonboat" + blocking, LogDB: byDefault},
		{Name: dragonboatTan + blocking, Engine: "dragonboat-tan" + blocking, LogDB: byDefault, FullOnly: true},
	}
}

// load sets the usual figures of a case.
func load(shards, payload, inFlight int) func(*benchmark.Config) {
	return func(c *benchmark.Config) { c.Shards, c.Payload, c.InFlight = shards, payload, inFlight }
}

// with adds to a load.
func with(first, then func(*benchmark.Config)) func(*benchmark.Config) {
	return func(c *benchmark.Config) { first(c); then(c) }
}

// everybody are the subjects of most cases.
func everybody() []string { return []string{Flotilla, Limit, Dragonboat, dragonboatTan} }

// longRunners are those of the cases of a minute: the limit has no way to remove what it has written, and would need tens of gigabytes.
func longRunners() []string { return []string{Flotilla, Dragonboat, dragonboatTan} }

// bounded keeps the log of a long case from filling the disk: a snapshot every million entries of a shard. A subject that writes fewer
// takes none.
func bounded(load func(*benchmark.Config)) func(*benchmark.Config) {
	return with(load, func(c *benchmark.Config) { c.SnapshotEntries = 1_000_000 })
}

// oneMinute is long enough for memtables to be flushed and compacted.
const oneMinute = 60 * time.Second

// OverloadClients bounds what an open loop has under way; it is far above what a host accepts before it refuses.
const OverloadClients = 1_000_000

// Rows returns the table.
func Rows() []Row {
	rows := append(throughputRows(), shardRows()...)
	rows = append(rows, variedRows()...)
	return append(rows, sweepRow())
}

func throughputRows() []Row {
	many, most := load(48, 16, 10_000), load(48, 16, 90_000)
	return []Row{
		{
			Name: "P1", Title: "48 shards, 16 bytes, 10,000 in flight",
			Cases: []Case{
				{Name: "P1", Load: many, Subjects: []string{Flotilla, otherStore, Limit, limitOverwriting, Dragonboat, dragonboatDefault, dragonboatTan}},
				{Name: "P1/60s", Load: bounded(many), Subjects: longRunners(), Duration: oneMinute, FullOnly: true},
				{Name: "P1/equal heap", Load: many, Subjects: everybody(), EqualHeap: true, FullOnly: true},
			},
			Targets: []Target{
				atLeast("P1", rate, 13, Dragonboat), atMost("P1", p50, 1.0/12, Dragonboat), atLeast("P1", rate, 0.5, Limit),
				atMost("P1", cpu, 2, Limit), atMost("P1", p50, 4, Limit), atMost("P1", "allocs_per_op", 0.2, ""),
			},
		},
		{
			Name: "P2", Title: "48 shards, 16 bytes, 90,000 in flight",
			Cases: []Case{
				{Name: "P2", Load: most, Subjects: []string{Flotilla, Limit, Dragonboat, dragonboatDefault, dragonboatTan}},
				{Name: "P2/60s", Load: bounded(most), Subjects: longRunners(), Duration: oneMinute, FullOnly: true},
			},
			Targets: []Target{
				atLeast("P2", rate, 9, Dragonboat), atMost("P2", p50, 1.0/9, Dragonboat), atLeast("P2", rate, 0.3, Limit),
				ofCase(atLeast("P2/60s", rate, 0.9, Flotilla), "P2"),
			},
		},
		{
			Name: "P3", Title: "one shard, 16 bytes, 2,000 in flight",
			Cases: []Case{
				{Name: "P3", Load: load(1, 16, 2000), Subjects: []string{Flotilla, Limit, limitOverwriting, Dragonboat, dragonboatDefault, dragonboatTan, Hashicorp}},
				{Name: "P3/equal heap", Load: load(1, 16, 2000), Subjects: append(everybody(), Hashicorp), EqualHeap: true, FullOnly: true},
			},
			Targets: []Target{
				atLeast("P3", rate, 3.5, Dragonboat), atLeast("P3", rate, 0.75, Limit), atMost("P3", "write_latency_ms.p99", 4, ""),
			},
		},
	}
}

func shardRows() []Row {
	return []Row{
		{
			Name: "P4", Title: "1,024 shards, 16 bytes, 10,000 in flight",
			Cases: []Case{
				{Name: "P4", Load: load(1024, 16, 10_000), Subjects: []string{Flotilla, otherStore, Limit, Dragonboat, dragonboatTan}},
			},
			Targets: []Target{atLeast("P4", rate, 35, Dragonboat), atLeast("P4", rate, 0.8, Limit)},
		},
		{
			Name: "P5", Title: "10,000 shards, 16 bytes, 10,000 in flight",
			Cases: []Case{
				{Name: "P5", Load: load(10_000, 16, 10_000), Subjects: []string{Flotilla, Limit}},
				{Name: "P5/peer", Load: load(10_000, 16, 10_000), Subjects: []string{Dragonboat}, Repeat: 1, FullOnly: true},
			},
			Targets: []Target{atLeast("P5", rate, 0.4, Limit), atMost("P5", "peak_rss_mib", 2048, "")},
		},
		{
			Name: "P6", Title: "48 shards, 128 bytes and 1 KiB, 30,000 in flight",
			Cases: []Case{
				{Name: "P6/128 B", Load: load(48, 128, 30_000), Subjects: append(everybody(), limitOverwriting)},
				{Name: "P6/1 KiB", Load: load(48, 1024, 30_000), Subjects: append(everybody(), limitOverwriting)},
			},
			Targets: []Target{atLeast("P6/128 B", rate, 6, Dragonboat), atLeast("P6/1 KiB", rate, 3, Dragonboat)},
		},
	}
}

func variedRows() []Row {
	reading := with(load(48, 16, 30_000), func(c *benchmark.Config) { c.ReadRatio = 0.9 })
	leasing := with(reading, func(c *benchmark.Config) { c.Reads = benchmark.ReadsByLease })
	owning := with(load(48, 16, 10_000), func(c *benchmark.Config) { c.OwnContext = true })
	blockers := []string{Flotilla + blocking, Limit + blocking, Dragonboat + blocking, dragonboatTan + blocking}
	return []Row{
		{
			Name: "P7", Title: "nine linearizable reads to a write, 48 shards, 16 bytes, 30,000 in flight",
			Cases: []Case{
				{Name: "P7/index", Load: reading, Subjects: []string{Flotilla, Dragonboat, dragonboatTan}},
				{Name: "P7/lease", Load: leasing, Subjects: []string{Flotilla}},
			},
			Targets: []Target{
				atLeast("P7/index", operations, 5, Dragonboat), ofCase(atLeast("P7/lease", operations, 10, Dragonboat), "P7/index"),
			},
		},
		{
			Name: "P8", Title: "one at a time on one shard, 16 bytes",
			Cases: []Case{{Name: "P8", Load: load(1, 16, 1), Subjects: []string{Flotilla, otherStore, Limit, limitOverwriting, Dragonboat, dragonboatDefault, dragonboatTan, Hashicorp}}},
			Targets: []Target{
				atMost("P8", p50, 0.5, Dragonboat), atMost("P8", p50, 2.0/3, Hashicorp), atMost("P8", p50, 1.25, Limit),
				plus(atMost("P8", cpu, 1, Limit), 150),
			},
		},
		{
			Name: "P9", Title: "P1 with snapshots and compaction every 50,000 entries",
			Cases: []Case{{
				Name: "P9", Load: with(load(48, 16, 10_000), func(c *benchmark.Config) { c.SnapshotEntries = 50_000 }),
				Subjects: []string{Flotilla, Dragonboat, dragonboatTan},
			}},
			Targets: []Target{atLeast("P9", rate, 10, Dragonboat), ofCase(atLeast("P9", rate, 0.8, Flotilla), "P1")},
		},
		distanceRow(),
		{
			Name: "P11", Title: "10,000 goroutines that call Propose, 48 shards, 16 bytes",
			Cases: []Case{
				{Name: "P11", Load: load(48, 16, 10_000), Subjects: append(blockers, Limit)},
				{Name: "P11/own context", Load: owning, Subjects: blockers[:3]},
			},
			Targets: []Target{
				atLeast("P11", rate, 10, Dragonboat+blocking), atLeast("P11/own context", rate, 10, Dragonboat+blocking),
				atLeast("P11", rate, 0.0625, Limit),
			},
		},
		overloadRow(),
	}
}

func distanceRow() Row {
	row := Row{Name: "P10", Title: "P1 with a one-way delay between the hosts"}
	for _, at := range []struct {
		name     string
		delay    time.Duration
		inFlight int
	}{
		{"P10/1 ms", time.Millisecond, 20_000}, {"P10/10 ms", 10 * time.Millisecond, 90_000}, {"P10/30 ms", 30 * time.Millisecond, 250_000},
	} {
		delayed := with(load(48, 16, at.inFlight), func(c *benchmark.Config) { c.Delay = at.delay })
		row.Cases = append(row.Cases, Case{Name: at.name, Load: delayed, Subjects: everybody()})
		row.Targets = append(row.Targets, atLeast(at.name, rate, 10, Dragonboat), atLeast(at.name, rate, 0.6, Limit), atMost(at.name, "busy", 0, ""))
	}
	return row
}

func overloadRow() Row {
	open := load(48, 16, OverloadClients)
	subjects := []string{Flotilla}
	return Row{
		Name: "P12", Title: "overload: an open loop at shares of the closed loop's rate, 48 shards, 16 bytes",
		Cases: []Case{
			{Name: "P12/peak", Load: load(48, 16, 10_000), Subjects: subjects},
			{Name: "P12/0.8", Load: open, Subjects: subjects, OfferedShare: 0.8, Peak: "P12/peak"},
			{Name: "P12/1", Load: open, Subjects: subjects, OfferedShare: 1, Peak: "P12/peak"},
			{Name: "P12/2", Load: open, Subjects: subjects, OfferedShare: 2, Peak: "P12/peak"},
			{Name: "P12/refusal", Load: load(1, 16, 1), Subjects: subjects, Refusals: true},
		},
		Targets: []Target{
			ofCase(atLeast("P12/2", rate, 0.8, Flotilla), "P12/1"),
			ofCase(atMost("P12/2", "write_latency_ms.p99", 5, Flotilla), "P12/0.8"),
			atMost("P12/refusal", "refusal_ns", 20, ""), atMost("P12/refusal", "refusal_allocs", 0, ""),
		},
	}
}

// sweepRow has no target: it fills the chart of the rate by requests in flight.
func sweepRow() Row {
	row := Row{Name: "sweep", Title: "48 shards, 16 bytes, by requests in flight"}
	for _, point := range []struct {
		name     string
		inFlight int
	}{{"sweep/1,000", 1000}, {"sweep/3,000", 3000}, {"sweep/30,000", 30_000}} {
		row.Cases = append(row.Cases, Case{
			Name: point.name, Load: load(48, 16, point.inFlight), Subjects: everybody(), Duration: 5 * time.Second, Repeat: 1, FullOnly: true,
		})
	}
	return row
}
