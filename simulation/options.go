package simulation

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/flotilla-raft/flotilla/rsm"
)

// ErrOptions says that options are wrong; the text lists every fault.
var ErrOptions = errors.New("simulation: invalid options")

// maxHosts is the greatest number of hosts.
const maxHosts = 7

// Options say what to simulate. The zero value is one run of seed 0 in profile "everything".
type Options struct {
	// Seed decides everything that is drawn.
	Seed uint64
	// Profile names the mix of faults, see Profiles. Default "everything".
	Profile string
	// Hosts is the number of hosts, 3 to 7. Default: drawn.
	Hosts int
	// Shards is the number of shards, 1 to 50. Default: drawn, at most 12.
	Shards int
	// Duration is how long clients and faults go on, in virtual time. Default 60 s. The phase in which everything has to
	// recover comes after it.
	Duration time.Duration
	// Without names kinds of faults to leave out of the profile; see Faults.
	Without []string
	// Steps ends that earlier, after so many events. Default: no limit.
	Steps uint64
	// Rate is how many operations the clients begin in a virtual second. Default 220.
	Rate int
	// LogDB is the log store: "seglog", which is the default, "pebble" or "model". The former two are on files, and files have faults
	// of their own. Pebble has goroutines of its own: such a run is drawn from the seed, but not the same to the last byte each time.
	// The model is the fastest; it shows what is not the store's.
	LogDB string
	// Machine makes state machines of your own, which every replica runs beside the simulator's: each command is given to it
	// without what the simulator puts in front. Equal commands have to give equal results on every replica; so has StateHash,
	// if the machines are StateHashers. Default: none.
	Machine rsm.Factory
	// Command draws a command for Machine. Default: some bytes.
	Command func(random func() uint64) []byte
	// Audit lets all shards compare their replicas' states at this interval; see engine.ReplicaOptions. That replicas differ is noticed by the
	// simulator itself at once: this is to see that audits agree with it. Default: none.
	Audit time.Duration
	// NoPorcupine leaves the check of the histories with porcupine out. Every other check is made as the run goes on.
	NoPorcupine bool
	// IgnoreFences does not count it as a violation that an assertion inside the engine failed, so that what the checkers
	// outside of it find can be told apart.
	IgnoreFences bool

	ignoreSyncs bool // files are never synced, whatever is said; to show what the checks are worth
}

// StateHasher is a state machine that can say what its state is, in one number. It is asked after Updates.
type StateHasher interface {
	StateHash() uint64
}

// Validate lists every fault of the options; the error matches ErrOptions.
func (o *Options) Validate() error {
	var faults *multierror.Error
	for _, bounded := range []struct {
		name                  string
		value, least, highest int64
	}{
		{"Hosts", int64(o.Hosts), 3, maxHosts}, {"Shards", int64(o.Shards), 1, 50},
		{"Duration", int64(o.Duration), int64(time.Second), int64(24 * time.Hour)}, {"Rate", int64(o.Rate), 1, 100_000},
	} {
		if bounded.value != 0 && (bounded.value < bounded.least || bounded.value > bounded.highest) {
			faults = multierror.Append(faults, fmt.Errorf("%s is %d, accepted is 0 (default) or %d to %d", bounded.name, bounded.value,
				bounded.least, bounded.highest))
		}
	}
	if _, known := profileOf(o.Profile); o.Profile != "" && !known {
		faults = multierror.Append(faults, fmt.Errorf("Profile is %q, accepted is one of %v", o.Profile, Profiles()))
	}
	if o.LogDB != "" && o.LogDB != modelLogDB && !isFiled(o.LogDB) {
		faults = multierror.Append(faults, fmt.Errorf("LogDB is %q, accepted is %q, %q or %q", o.LogDB, seglogLogDB, pebbleLogDB, modelLogDB))
	}
	for _, name := range o.Without {
		if !slices.Contains(Faults(), name) {
			faults = multierror.Append(faults, fmt.Errorf("Without has %q, accepted are %v", name, Faults()))
		}
	}
	if faults == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrOptions, faults)
}

func (o *Options) setDefaults() {
	if o.Profile == "" {
		o.Profile = "everything"
	}
	if o.LogDB == "" {
		o.LogDB = seglogLogDB
	}
	if o.Duration == 0 {
		o.Duration = 60 * time.Second
	}
	if o.Rate == 0 {
		o.Rate = 220
	}
}

// Violation says which property did not hold. It is an error.
type Violation struct {
	Property string
	Detail   string
	At       time.Duration // virtual time
	Tail     []string      // the last records of the trace
}

// Error describes the violation in one line.
func (v *Violation) Error() string {
	return fmt.Sprintf("%s violated at %v: %s", v.Property, v.At, v.Detail)
}

// Result says how a run went.
type Result struct {
	Seed      uint64
	Hosts     int
	Shards    int
	Virtual   time.Duration // how far the world's clock went
	Steps     uint64        // events
	Runs      uint64        // calls of RunOnce
	Records   uint64        // of the trace
	Hash      uint64        // of the whole trace, the disks at the end included
	Counters  Counters
	Violation *Violation // nil if every property held
}
