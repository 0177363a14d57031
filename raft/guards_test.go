package raft

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// guardsFlag is how many guards TestGuards takes out.
var guardsFlag = flag.String("guards", "", "take out all guards, so many at random, or those whose name contains this")

// guard is a few lines of the core without which a rule is broken, and the scripts whose expectations have to notice. The
// files of testdata/guards list them; testdata/README.md says how.
type guard struct {
	name, position string
	file           string // of this package
	scripts        []string
	hunks          []hunk
}

// hunk is a piece of source, whole lines, and what stands there when the guard is out.
type hunk struct{ with, without []string }

// readGuards parses the lists. Lines that begin with "-" are the guard, those with "+" are what replaces it.
func readGuards(t *testing.T) []guard {
	t.Helper()
	paths, err := filepath.Glob("testdata/guards/*")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no guards: %v", err)
	}
	var all []guard
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			position := fmt.Sprintf("%s:%d", path, i+1)
			if err := parseGuardLine(line, position, &all); err != nil {
				t.Fatalf("%s: %v", position, err)
			}
		}
	}
	return all
}

func parseGuardLine(line, position string, all *[]guard) error {
	words := strings.Fields(line)
	switch {
	case len(words) == 0 || strings.HasPrefix(line, "#"):
		return nil
	case words[0] == "guard":
		if len(words) < 4 {
			return errors.New("want: guard NAME FILE SCRIPT, and more scripts")
		}
		*all = append(*all, guard{name: words[1], file: words[2], scripts: words[3:], position: position})
		return nil
	case len(*all) == 0 || line[0] != '-' && line[0] != '+':
		return errors.New("a line is empty, a comment, a guard, or begins with - or +")
	}
	g := &(*all)[len(*all)-1]
	if line[0] == '-' && (len(g.hunks) == 0 || len(g.hunks[len(g.hunks)-1].without) > 0) {
		g.hunks = append(g.hunks, hunk{})
	}
	if len(g.hunks) == 0 {
		return errors.New("+ without -")
	}
	h := &g.hunks[len(g.hunks)-1]
	if line[0] == '-' {
		h.with = append(h.with, line[1:])
	} else {
		h.without = append(h.without, line[1:])
	}
	return nil
}

// source is the guard's file without the guard. Each hunk has to be found exactly once: what is stale shows nothing.
func (g *guard) source() (string, error) {
	text, err := os.ReadFile(g.file)
	if err != nil {
		return "", err
	}
	source := "\n" + string(text)
	if len(g.hunks) == 0 {
		return "", errors.New("nothing to take out")
	}
	for _, h := range g.hunks {
		with, without := "\n"+strings.Join(h.with, "\n")+"\n", "\n"
		if len(h.without) > 0 {
			without += strings.Join(h.without, "\n") + "\n"
		}
		if n := strings.Count(source, with); n != 1 {
			return "", fmt.Errorf("found %d times in %s, not once:%s", n, g.file, with)
		}
		source = strings.Replace(source, with, without, 1)
	}
	return source[1:], nil
}

// noAssertions stands in for internal/invariant, so that no assertion notices before the script's expectation does.
const noAssertions = `package invariant

type Violation struct{ Message string }

func (v Violation) Error() string { return v.Message }

func Check(bool, string) {}

func Fail(string, ...any) {}
`

// TestGuards holds that every guard is where its list says, and with -guards takes them out, one at a time: the scripts
// named have to fail then, each by one of its expectations. Nothing in the tree changes, the build sees an overlay.
func TestGuards(t *testing.T) {
	all := readGuards(t)
	names := map[string]bool{}
	for i := range all {
		g := &all[i]
		if _, err := g.source(); err != nil {
			t.Errorf("%s: guard %s is stale: %v", g.position, g.name, err)
		}
		if names[g.name] {
			t.Errorf("%s: guard %s is listed twice", g.position, g.name)
		}
		names[g.name] = true
		for _, script := range g.scripts {
			if _, err := os.Stat(filepath.Join("testdata/scripts", script)); err != nil {
				t.Errorf("%s: guard %s: %v", g.position, g.name, err)
			}
		}
	}
	if *guardsFlag == "" || t.Failed() {
		return
	}
	chosen := chooseGuards(all)
	if len(chosen) == 0 {
		t.Fatalf("no guard is named like %q", *guardsFlag)
	}
	var scripts []string
	for _, g := range chosen {
		scripts = append(scripts, g.scripts...)
	}
	if why := runWithout(t, nil, scripts, false); why != "" {
		t.Fatalf("with all guards: %s", why)
	}
	for _, g := range chosen {
		why := runWithout(t, g, g.scripts, true)
		if why != "" {
			t.Errorf("%s: guard %s: %s", g.position, g.name, why)
		}
		fmt.Printf("%-8s %-44s %s\n", map[bool]string{true: "noticed", false: "MISSED"}[why == ""], g.name, strings.Join(g.scripts, " "))
	}
	fmt.Printf("%d of %d guards taken out\n", len(chosen), len(all))
}

func chooseGuards(all []guard) []*guard {
	count, err := strconv.Atoi(*guardsFlag)
	if *guardsFlag == "all" {
		count, err = len(all), nil
	}
	var chosen []*guard
	for _, i := range rand.Perm(len(all)) {
		if err == nil && len(chosen) < count || err != nil && strings.Contains(all[i].name, *guardsFlag) {
			chosen = append(chosen, &all[i])
		}
	}
	slices.SortFunc(chosen, func(a, b *guard) int { return strings.Compare(a.position, b.position) })
	return chosen
}

// runWithout runs scripts for their expectations alone, and says what is not as it should be: each has to fail by an
// expectation of its own, or all have to pass.
func runWithout(t *testing.T, g *guard, scripts []string, fail bool) string {
	t.Helper()
	directory := t.TempDir()
	replace := map[string]string{}
	overlay := func(path, source string) {
		absolute, err := filepath.Abs(path)
		file := filepath.Join(directory, strings.ReplaceAll(path, "/", "_"))
		if err == nil {
			err = os.WriteFile(file, []byte(source), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		replace[absolute] = file
	}
	overlay("../internal/invariant/invariant.go", noAssertions)
	if g != nil {
		source, err := g.source()
		if err != nil {
			t.Fatal(err)
		}
		overlay(g.file, source)
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(filepath.Join(directory, "overlay.json"), list, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-timeout=60s",
		"-overlay="+filepath.Join(directory, "overlay.json"),
		"-run=^TestScripts$/^("+strings.Join(scripts, "|")+")$", ".", "-expects-only")
	output, err := command.CombinedOutput()
	text := string(output)
	if !fail {
		if err != nil {
			return text
		}
		return ""
	}
	for _, script := range scripts {
		if !regexp.MustCompile(`testdata/scripts/` + script + `:\d+: ` + expectationFalse).MatchString(text) {
			return "no expectation of " + script + " notices\n" + text
		}
	}
	return ""
}
