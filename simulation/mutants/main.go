// Command mutants shows that the simulator finds errors. Each patch beside this file takes one guard out of the product. The
// command copies the tree, turns the assertions inside the product off, and then, patch by patch, builds the copy and runs
// the simulator on fresh seeds until a checker outside the product reports a violation. Log stores have proofs of their own: but for patches
// of the log store hosts have the model, with which twice as many seeds are run.
//
//	go run ./simulation/mutants                            all patches, two at a time
//	go run ./simulation/mutants --only a,b                 some of them
//	go run ./simulation/mutants --random 3                 three drawn ones
//	go run ./simulation/mutants --results FILE             write what was found to a file, line by line
//	go run ./simulation/mutants --results FILE --resume    leave those out that the file has already
//	go run ./simulation/mutants --apply-only               only look whether every patch still applies and builds
//	go run ./simulation/mutants --page docs/proof.md --results FILE --simulated FILE    write the page's tables; nothing is run
//
// A patch begins with a sentence that says what it takes out, with the rules that it breaks in brackets, a line "Profile: NAME", the profile
// whose seeds take turns with those of "everything", and a line "Log: seglog" if it is about the segmented log.
//
// Exit codes: 0 every mutant was found; 1 one was not, or its patch does not apply or build any more; 3 a flag is wrong.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// settings are the command's flags.
type settings struct {
	root      string
	only      string
	random    int
	seed      uint64
	budget    time.Duration
	jobs      int
	results   string
	resume    bool
	applyOnly bool
	page      string
	simulated string
	simulate  string
	logDB     string
}

func main() {
	var s settings
	flag.StringVar(&s.root, "root", ".", "the project's directory")
	flag.StringVar(&s.only, "only", "", "names of patches, with commas between them")
	flag.IntVar(&s.random, "random", 0, "how many patches to draw; 0: all")
	flag.Uint64Var(&s.seed, "seed", 0, "first seed; 0: drawn")
	flag.DurationVar(&s.budget, "budget", 4*time.Minute, "how much CPU time to look for one mutant")
	flag.IntVar(&s.jobs, "jobs", 2, "how many mutants at a time")
	flag.StringVar(&s.results, "results", "", "file that what is found is added to")
	flag.BoolVar(&s.resume, "resume", false, "leave out what the file of results has; without it the file is begun anew")
	flag.BoolVar(&s.applyOnly, "apply-only", false, "only apply and build")
	flag.StringVar(&s.page, "page", "", "write the tables of this page from the results, and run nothing")
	flag.StringVar(&s.simulated, "simulated", "", "file that flotilla sim --report has written, for the page")
	flag.StringVar(&s.simulate, "simulate", "", "run the simulator built into this program in a profile; the command uses it on its copies")
	flag.StringVar(&s.logDB, "logdb", "model", "with --simulate: the log store")
	flag.Parse()
	if flag.NArg() > 0 || s.jobs < 1 {
		fmt.Fprintln(os.Stderr, "mutants: unknown arguments", flag.Args(), "or jobs below 1")
		os.Exit(3)
	}
	if s.seed == 0 {
		s.seed = rand.Uint64N(1 << 40)
	}
	if s.simulate != "" {
		os.Exit(simulate(s.simulate, s.logDB, s.seed, s.budget))
	}
	do := run
	if s.page != "" {
		do = writePage
	}
	if err := do(&s); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// hunters look for mutants, each in a copy of its own.
type hunters struct {
	settings *settings

	mu      sync.Mutex
	waiting []mutant
	missed  []string
	took    []time.Duration
}

func run(s *settings) error {
	all, err := readMutants(filepath.Join(s.root, "simulation", "mutants"))
	if err != nil {
		return err
	}
	chosen, err := choose(all, s)
	if err != nil {
		return err
	}
	if chosen, err = s.withoutFound(chosen); err != nil {
		return err
	}
	fmt.Printf("%d mutants, seeds from %d\n", len(chosen), s.seed)
	h := &hunters{settings: s, waiting: chosen}
	began := time.Now()
	failures := make(chan error, s.jobs)
	for range s.jobs {
		go func() { failures <- h.work() }()
	}
	for range s.jobs {
		if failure := <-failures; failure != nil {
			err = failure
		}
	}
	if err != nil {
		return err
	}
	if len(h.took) > 0 {
		slices.Sort(h.took)
		fmt.Printf("%d found, median %.1f s of CPU, longest %.1f s, all in %v\n", len(h.took), h.took[len(h.took)/2].Seconds(),
			h.took[len(h.took)-1].Seconds(), time.Since(began).Round(time.Second))
	}
	if len(h.missed) > 0 {
		return fmt.Errorf("%d of %d not found: %s", len(h.missed), len(chosen), strings.Join(h.missed, ", "))
	}
	return nil
}

// withoutFound leaves out what an earlier run has found, or begins the file of results anew.
func (s *settings) withoutFound(chosen []mutant) ([]mutant, error) {
	if s.results == "" {
		return chosen, nil
	}
	if !s.resume {
		return chosen, os.WriteFile(s.results, nil, 0o644)
	}
	found, err := readResults(s.results)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(chosen, func(m mutant) bool { _, known := found[m.name]; return known }), nil
}

// work takes one mutant after the other.
func (h *hunters) work() error {
	directory, err := os.MkdirTemp("", "flotilla-mutants-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(directory) }()
	c := copyOf{root: directory}
	if err := c.make(h.settings.root); err != nil {
		return err
	}
	for {
		m, ok := h.next()
		if !ok {
			return nil
		}
		found, err := c.hunt(m, h.settings)
		if err := h.tell(m, &found, err); err != nil {
			return err
		}
	}
}

func (h *hunters) next() (m mutant, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiting) == 0 {
		return m, false
	}
	m, h.waiting = h.waiting[0], h.waiting[1:]
	return m, true
}

// tell says what became of a mutant.
func (h *hunters) tell(m mutant, f *finding, failure error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case failure != nil:
		h.missed = append(h.missed, m.name)
		fmt.Printf("%-45s %v\n", m.name, failure)
	case h.settings.applyOnly:
		fmt.Printf("%-45s applies\n", m.name)
	default:
		h.took = append(h.took, f.spent)
		fmt.Printf("%-45s %6.1f s  %s, run %d (%s, seed %d): %s\n", m.name, f.spent.Seconds(), f.property, f.runs, f.profile, f.seed, f.detail)
		if h.settings.results != "" {
			return appendResult(h.settings.results, f)
		}
	}
	return nil
}
