// Command mutants shows that the simulator finds errors. Each patch beside this file takes one guard out of the product. The
// command copies the tree, turns the assertions inside the product off, and then, patch by patch, builds the copy and runs
// the simulator on fresh seeds until a checker outside the product reports a violation. Log stores have proofs of their own: here the hosts have
// the model, with which twice as many seeds are run.
//
//	go run ./simulation/mutants                  all patches
//	go run ./simulation/mutants --only a,b       some of them
//	go run ./simulation/mutants --random 3       three drawn ones
//	go run ./simulation/mutants --apply-only     only look whether every patch still applies and builds
//
// A patch begins with a sentence that says what it takes out and a line "Profile: NAME", the profile whose seeds take turns
// with those of "everything".
//
// Exit codes: 0 every mutant was found; 1 one was not, or its patch does not apply or build any more; 3 a flag is wrong.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// settings are the command's flags.
type settings struct {
	root      string
	only      string
	random    int
	seed      uint64
	budget    time.Duration
	applyOnly bool
	simulate  string
}

func main() {
	var s settings
	flag.StringVar(&s.root, "root", ".", "the project's directory")
	flag.StringVar(&s.only, "only", "", "names of patches, with commas between them")
	flag.IntVar(&s.random, "random", 0, "how many patches to draw; 0: all")
	flag.Uint64Var(&s.seed, "seed", 0, "first seed; 0: drawn")
	flag.DurationVar(&s.budget, "budget", 2*time.Minute, "how long to look for one mutant")
	flag.BoolVar(&s.applyOnly, "apply-only", false, "only apply and build")
	flag.StringVar(&s.simulate, "simulate", "", "run the simulator built into this program in a profile; the command uses it on its copies")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "mutants: unknown arguments", flag.Args())
		os.Exit(3)
	}
	if s.seed == 0 {
		s.seed = rand.Uint64N(1 << 40)
	}
	if s.simulate != "" {
		os.Exit(simulate(s.simulate, s.seed, s.budget))
	}
	if err := run(&s); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// mutant is one patch.
type mutant struct {
	name, path, why, profile string
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
	directory, err := os.MkdirTemp("", "flotilla-mutants-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(directory) }()
	c := copyOf{root: directory}
	if err := c.make(s.root); err != nil {
		return err
	}
	fmt.Printf("%d mutants, seeds from %d\n", len(chosen), s.seed)
	var missed []string
	var took []time.Duration
	for _, m := range chosen {
		found, spent, err := c.hunt(m, s)
		switch {
		case err != nil:
			missed = append(missed, m.name)
			fmt.Printf("%-40s %v\n", m.name, err)
		case s.applyOnly:
			fmt.Printf("%-40s applies\n", m.name)
		default:
			took = append(took, spent)
			fmt.Printf("%-40s %6.1f s  %s\n", m.name, spent.Seconds(), found)
		}
	}
	if len(took) > 0 {
		slices.Sort(took)
		fmt.Printf("median %.1f s of CPU\n", took[len(took)/2].Seconds())
	}
	if len(missed) > 0 {
		return fmt.Errorf("%d of %d not found: %s", len(missed), len(chosen), strings.Join(missed, ", "))
	}
	return nil
}

var errPatch = errors.New("no description or profile")

func readMutants(directory string) ([]mutant, error) {
	paths, err := filepath.Glob(filepath.Join(directory, "*.patch"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no patches in %s", directory)
	}
	var all []mutant
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		absolute, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		m := mutant{name: strings.TrimSuffix(filepath.Base(path), ".patch"), path: absolute}
		lines := strings.SplitN(string(content), "\n", 3)
		if len(lines) == 3 {
			m.why = lines[0]
			m.profile, _ = strings.CutPrefix(lines[1], "Profile: ")
		}
		if m.why == "" || m.profile == "" {
			return nil, fmt.Errorf("%s: %w", path, errPatch)
		}
		all = append(all, m)
	}
	return all, nil
}

func choose(all []mutant, s *settings) ([]mutant, error) {
	if s.only != "" {
		var chosen []mutant
		for _, name := range strings.Split(s.only, ",") {
			i := slices.IndexFunc(all, func(m mutant) bool { return m.name == name })
			if i < 0 {
				return nil, fmt.Errorf("no patch is called %q", name)
			}
			chosen = append(chosen, all[i])
		}
		return chosen, nil
	}
	if s.random > 0 && s.random < len(all) {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		all = all[:s.random]
	}
	return all, nil
}
