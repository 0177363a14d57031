package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// mutant is one patch.
type mutant struct {
	name, path string
	// why says what the patch takes out, without the rules that it breaks.
	why     string
	rules   []string
	profile string
	logDB   string
}

var errPatch = errors.New("no description or profile")

// rule is how rules of docs/guarantees.md and kinds of tests are named in a patch.
var rule = regexp.MustCompile(`\b(?:R[0-9]+|T-[0-9]+)\b`)

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
		m, err := readMutant(path)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// readMutant reads what stands in front of a patch: a sentence, and lines of the form "Profile: NAME".
func readMutant(path string) (mutant, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return mutant{}, err
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return mutant{}, err
	}
	m := mutant{name: strings.TrimSuffix(filepath.Base(path), ".patch"), path: absolute, logDB: "model"}
	head, _, _ := strings.Cut(string(content), "\n--- ")
	lines := strings.Split(head, "\n")
	m.why, _, _ = strings.Cut(lines[0], " (")
	m.why = strings.TrimSuffix(m.why, ".") + "."
	for _, line := range lines[1:] {
		switch key, value, _ := strings.Cut(line, ": "); key {
		case "Profile":
			m.profile = value
		case "Log":
			m.logDB = value
		}
	}
	m.rules = rule.FindAllString(head, -1)
	slices.Sort(m.rules)
	m.rules = slices.Compact(m.rules)
	if m.why == "." || m.profile == "" {
		return mutant{}, fmt.Errorf("%s: %w", path, errPatch)
	}
	return m, nil
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
