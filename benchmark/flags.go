package benchmark

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-multierror"
)

// Flag is one flag of the command line, bound to a field of a Config. It has the methods of a value of the flag packages in use.
// Set never fails: a flag package stops at the first error, and every fault is to be named. Flags.Err has them all.
type Flag struct {
	Name, Usage string
	// Accepts describes the values that are taken.
	Accepts string
	// Switch is true if the flag alone means true.
	Switch bool
	// Hidden is true for flags that test the harness itself.
	Hidden bool

	kind   string
	text   func() string
	parse  func(string) error
	check  func() error
	faults []error
}

// Set takes the flag's text.
func (f *Flag) Set(text string) error {
	if err := f.parse(text); err != nil {
		f.faults = append(f.faults, f.fault(fmt.Errorf("%q: %w", text, err)))
	}
	return nil
}

// String returns the flag's value.
func (f *Flag) String() string { return f.text() }

// Type names the kind of value.
func (f *Flag) Type() string { return f.kind }

func (f *Flag) fault(err error) error {
	return fmt.Errorf("%w: --%s: %w (accepted: %s)", ErrConfig, f.Name, err, f.Accepts)
}

// Flags are the flags of a Config.
type Flags struct {
	List    []*Flag
	config  *Config
	engines []Engine
}

// NewFlags binds flags to a Config, whose present values are their defaults.
func NewFlags(config *Config, engines []Engine) *Flags {
	return &Flags{List: config.flags(engines), config: config, engines: engines}
}

// Err reports every fault at once: what could not be read, what is out of range, and what does not go together.
func (f *Flags) Err() error {
	var faults *multierror.Error
	for _, flag := range f.List {
		switch err := flag.check(); {
		case len(flag.faults) > 0:
			faults = multierror.Append(faults, flag.faults...)
		case err != nil:
			faults = multierror.Append(faults, flag.fault(err))
		}
	}
	faults = multierror.Append(faults, f.config.checkTogether(f.engines)...)
	return faults.ErrorOrNil()
}

// flags is the one list of what a Config accepts.
func (c *Config) flags(engines []Engine) []*Flag {
	return []*Flag{
		engineFlag(c, engines),
		choiceFlag("workload", "what is done to the engine", &c.Workload, []string{
			WorkloadSteady, WorkloadFailover, WorkloadSlowFollower, WorkloadAppend, WorkloadOpen, WorkloadRestart, WorkloadSnapshot, WorkloadStream,
			WorkloadSessions,
		}),
		intFlag("hosts", "hosts in this process", &c.Hosts, 1, 9),
		intFlag("shards", "Raft groups, each with a replica on every host", &c.Shards, 1, 100_000),
		intFlag("payload", "bytes of a command", &c.Payload, MinPayload, 1<<20),
		intFlag("in-flight", "requests in flight over all shards", &c.InFlight, 1, 1_000_000),
		durationFlag("duration", "what is measured of each repeat", &c.Duration, 10*time.Millisecond, 24*time.Hour),
		durationFlag("warmup", "what runs before it", &c.Warmup, 0, 24*time.Hour),
		intFlag("repeat", "repeats of each engine, in turns", &c.Repeat, 1, 1000),
		ratioFlag("read-ratio", "share of requests that are linearizable reads", &c.ReadRatio),
		choiceFlag("reads", "how reads are served", &c.Reads, []string{ReadsByIndex, ReadsByLease}),
		rateFlag("offered", "writes a second of an open loop, 0 for a closed one", &c.Offered),
		durationFlag("delay", "one-way delay between hosts", &c.Delay, 0, 10*time.Second),
		intFlag("snapshot-entries", "entries of a shard between snapshots, 0 for none", &c.SnapshotEntries, 0, 1<<30),
		switchFlag("own-context", "each blocking caller has a context of its own that can be cancelled", &c.OwnContext),
		choiceFlag("logdb", "log store", &c.LogDB, logDBs(engines)),
		choiceFlag("transport", "how hosts talk", &c.Transport, transports(engines)),
		durationFlag("election-timeout", "base of the randomized election timeout in the failover workload", &c.ElectionTimeout,
			20*time.Millisecond, time.Minute),
		intFlag("log-mib", "MiB of log in the open workload", &c.LogMiB, 1, 1<<20),
		intFlag("entries", "commands behind the snapshot in the restart workload", &c.Entries, 1, 1<<30),
		intFlag("state-mib", "MiB of state in the snapshot and stream workloads", &c.StateMiB, 1, 1<<20),
		switchFlag("blocking", "one goroutine per request in flight, calling Propose", &c.Blocking),
		textFlag("data", "directory for the data (default: a fresh temporary one on a disk)", "any path", &c.Data),
		switchFlag("keep", "leave the data", &c.Keep),
		textFlag("json", "file for the report", "any path", &c.JSON),
		seedFlag(c),
		requireFlag(c),
		injectFlag(c),
	}
}

var (
	errRange  = errors.New("out of range")
	errChoice = errors.New("no such choice")
)

func intFlag(name, usage string, value *int, least, greatest int) *Flag {
	return &Flag{
		Name: name, Usage: usage, kind: "int", Accepts: fmt.Sprintf("an integer from %d to %d", least, greatest),
		text: func() string { return strconv.Itoa(*value) },
		parse: func(text string) (err error) {
			*value, err = strconv.Atoi(text)
			return errors.Unwrap(err)
		},
		check: func() error {
			if *value < least || *value > greatest {
				return fmt.Errorf("%d is %w", *value, errRange)
			}
			return nil
		},
	}
}

func durationFlag(name, usage string, value *time.Duration, least, greatest time.Duration) *Flag {
	return &Flag{
		Name: name, Usage: usage, kind: "duration", Accepts: fmt.Sprintf("a duration from %v to %v, as 10s", least, greatest),
		text: func() string { return value.String() },
		parse: func(text string) (err error) {
			if *value, err = time.ParseDuration(text); err != nil {
				return errors.New("not a duration")
			}
			return nil
		},
		check: func() error {
			if *value < least || *value > greatest {
				return fmt.Errorf("%v is %w", *value, errRange)
			}
			return nil
		},
	}
}

func ratioFlag(name, usage string, value *float64) *Flag {
	return &Flag{
		Name: name, Usage: usage, kind: "ratio", Accepts: "a number from 0 to 1",
		text: func() string { return strconv.FormatFloat(*value, 'g', -1, 64) },
		parse: func(text string) (err error) {
			*value, err = strconv.ParseFloat(text, 64)
			return errors.Unwrap(err)
		},
		check: func() error {
			if !(*value >= 0 && *value <= 1) { // also refuses what is no number
				return fmt.Errorf("%g is %w", *value, errRange)
			}
			return nil
		},
	}
}

func rateFlag(name, usage string, value *float64) *Flag {
	f := ratioFlag(name, usage, value)
	f.kind, f.Accepts = "rate", "a number from 0 to 1e9"
	f.check = func() error {
		if !(*value >= 0 && *value <= 1e9) { // also refuses what is no number
			return fmt.Errorf("%g is %w", *value, errRange)
		}
		return nil
	}
	return f
}

func choiceFlag(name, usage string, value *string, choices []string) *Flag {
	accepts := "any: no engine has a choice"
	if len(choices) > 0 {
		accepts = "one of " + strings.Join(choices, ", ")
	}
	f := textFlag(name, usage, accepts, value)
	f.check = func() error {
		if len(choices) > 0 && !slices.Contains(choices, *value) {
			return fmt.Errorf("%q: %w", *value, errChoice)
		}
		return nil
	}
	return f
}

func textFlag(name, usage, accepts string, value *string) *Flag {
	return &Flag{
		Name: name, Usage: usage, kind: "string", Accepts: accepts,
		text:  func() string { return *value },
		parse: func(text string) error { *value = text; return nil },
		check: func() error { return nil },
	}
}

func switchFlag(name, usage string, value *bool) *Flag {
	return &Flag{
		Name: name, Usage: usage, kind: "bool", Accepts: "true or false", Switch: true,
		text: func() string { return strconv.FormatBool(*value) },
		parse: func(text string) (err error) {
			*value, err = strconv.ParseBool(text)
			return errors.Unwrap(err)
		},
		check: func() error { return nil },
	}
}

func seedFlag(c *Config) *Flag {
	return &Flag{
		Name: "seed", Usage: "makes the payloads", kind: "uint", Accepts: "an integer from 0 to 18446744073709551615",
		text: func() string { return strconv.FormatUint(c.Seed, 10) },
		parse: func(text string) (err error) {
			c.Seed, err = strconv.ParseUint(text, 10, 64)
			return errors.Unwrap(err)
		},
		check: func() error { return nil },
	}
}

func engineFlag(c *Config, engines []Engine) *Flag {
	names := make([]string, len(engines))
	for i := range engines {
		names[i] = engines[i].Name
	}
	return &Flag{
		Name: "engine", Usage: "engines to run, the first compared with the others", kind: "names",
		Accepts: fmt.Sprintf("a list without doubles of %s, separated by commas, each with or without %s", strings.Join(names, ", "),
			BlockingSuffix),
		text:  func() string { return strings.Join(c.Engines, ",") },
		parse: func(text string) error { c.Engines = strings.Split(text, ","); return nil },
		check: func() error {
			if len(c.Engines) == 0 {
				return fmt.Errorf("none: %w", errChoice)
			}
			for i, label := range c.Engines {
				if _, known := engineNamed(engines, label); !known {
					return fmt.Errorf("%q: %w", label, errChoice)
				}
				if slices.Contains(c.Engines[:i], label) {
					return fmt.Errorf("%q twice: %w", label, errChoice)
				}
			}
			return nil
		},
	}
}

func requireFlag(c *Config) *Flag {
	return &Flag{
		Name: "require", Usage: "target for the medians, as 'writes_per_second>=0.25*limit', 'errors==0' or 'kill.max_ms<=1.5*floor'; repeatable", kind: "expression",
		Accepts: "METRIC, an operator (<= >= == != < >), and NUMBER, ENGINE or NUMBER*ENGINE",
		text:    func() string { return strings.Trim(fmt.Sprint(c.Require), "[]") },
		parse: func(text string) error {
			requirement, err := ParseRequirement(text)
			if err == nil {
				c.Require = append(c.Require, requirement)
			}
			return err
		},
		check: func() error { return nil },
	}
}

func injectFlag(c *Config) *Flag {
	f := choiceFlag("inject", "commit a fault that the end check must find", (*string)(&c.Inject),
		[]string{string(InjectNothing), string(InjectLose), string(InjectDouble)})
	f.Hidden, f.Accepts = true, "lose or double"
	return f
}

func logDBs(engines []Engine) []string {
	return union(engines, func(e Engine) []string { return e.LogDBs })
}

func transports(engines []Engine) []string {
	return union(engines, func(e Engine) []string { return e.Transports })
}

// union joins a list of each engine, in order, without doubles.
func union(engines []Engine, of func(Engine) []string) []string {
	var all []string
	for _, engine := range engines {
		for _, name := range of(engine) {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}
