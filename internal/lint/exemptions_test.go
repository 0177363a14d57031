package lint

// Exemptions: a file and the reason why a rule does not hold in it. One that is not needed any more fails its test.

// determinismExemptions are the files named for the goroutine, clock or random source that they hold.
var determinismExemptions = map[string]string{
	"engine/clock.go":               "the system's clock, behind the interface through which the loop reads the time",
	"logdb/clock.go":                "the stopwatch of the metrics, on which nothing depends",
	"logdb/pebblelog/background.go": "the store's own goroutines, which wait for syncs; they meet the engine only in completions",
	"engine/pace.go":                "the sleep of who writes a snapshot beside the work of its shard; an engine that is driven by hand never gets there",
	"engine/loop.go":                "the one loop round RunOnce: its timer wakes a worker at the deadline that RunOnce returned",
}

// panicExemptions are files that panic by design.
var panicExemptions = map[string]string{}

// initExemptions are files with an init function for want of another way.
var initExemptions = map[string]string{
	"raft/handlers.go": "handlers step other messages and so mention the table that holds them: as an initial value it would be a cycle",
}

// printExemptions are files that write to the process's streams by design.
var printExemptions = map[string]string{}

// noExemptions is for rules that hold everywhere.
var noExemptions map[string]string

// sizes is what is longer today than the limits allow.
var sizes = ratchet{}
