package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// side is one of the two revisions.
type side struct {
	name, root string
	tests      map[string]string // test binary by package, for those that could be built
	flotilla   string            // the command
}

type runner struct {
	directory string
	packages  []string
	benchtime string
	harness   bool
	out       io.Writer
	sides     [2]side // base, head
}

// extract puts the files of a revision into the temporary directory. The repository is left as it is.
func (r *runner) extract(ctx context.Context, root, revision string) (side, error) {
	commit, err := output(ctx, root, "git", "rev-parse", "--verify", "--short", revision+"^{commit}")
	if err != nil {
		return side{}, err
	}
	s := side{name: strings.TrimSpace(commit), root: r.path("source")}
	if err := os.Mkdir(s.root, 0o700); err != nil {
		return side{}, err
	}
	archive := r.path("source.tar")
	if _, err := output(ctx, root, "git", "archive", "--format=tar", "--output="+archive, revision); err != nil {
		return side{}, err
	}
	_, err = output(ctx, s.root, "tar", "-xf", archive)
	return s, err
}

// build makes a test binary for each package that the revision has, and its command.
func (r *runner) build(ctx context.Context, s *side) error {
	fmt.Fprintf(r.out, "building %s\n", s.name)
	s.tests = map[string]string{}
	for _, pkg := range r.packages {
		if _, err := os.Stat(filepath.Join(s.root, pkg)); err != nil {
			continue
		}
		binary := r.path(fileOf(s.name, pkg) + ".test")
		if _, err := output(ctx, s.root, "go", "test", "-c", "-o", binary, pkg); err != nil {
			return err
		}
		s.tests[pkg] = binary
	}
	if !r.harness {
		return nil
	}
	s.flotilla = r.path("flotilla-" + s.name)
	_, err := output(ctx, s.root, "go", "build", "-buildvcs=false", "-o", s.flotilla, "./cmd/flotilla")
	return err
}

func fileOf(name, pkg string) string {
	return name + "-" + strings.Trim(strings.NewReplacer("/", "-", ".", "").Replace(pkg), "-")
}

// measure makes the rounds, and keeps all output for the table.
func (r *runner) measure(ctx context.Context, only string, rounds int, pass string) (measured, error) {
	m := measured{samples{}, samples{}}
	for round := range rounds {
		fmt.Fprintf(r.out, "%s pass, round %d of %d\n", pass, round+1, rounds)
		for _, pkg := range r.packages {
			for _, i := range order(round) {
				into := []samples{m.base, m.head}[i]
				if err := r.benchmark(ctx, r.sides[i], pkg, only, pass, into); err != nil {
					return m, err
				}
			}
		}
		for _, load := range loads() {
			if matched, err := regexp.MatchString(only, "Benchmark"+load.name); err != nil || !matched || !r.harness {
				if err != nil {
					return m, err
				}
				continue
			}
			for _, i := range order(round) {
				into := []samples{m.base, m.head}[i]
				if err := r.load(ctx, r.sides[i], load, pass, into); err != nil {
					return m, err
				}
			}
		}
	}
	return m, nil
}

// order lets each revision begin every other round.
func order(round int) [2]int { return [2]int{round % 2, 1 - round%2} }

// benchmark runs a package's benchmarks once; where there are none that match, or only the other revision has the package, nothing happens.
func (r *runner) benchmark(ctx context.Context, s side, pkg, only, pass string, into samples) error {
	binary, built := s.tests[pkg]
	if !built {
		return nil
	}
	text, err := output(ctx, filepath.Join(s.root, pkg), binary, "-test.run=^$", "-test.bench="+only, "-test.benchtime="+r.benchtime, "-test.timeout=5m")
	if err != nil {
		return err
	}
	return r.keep(s, pkg, pass, text, into)
}

// keep stores output for the table and parses it.
func (r *runner) keep(s side, pkg, pass, text string, into samples) error {
	file, err := os.OpenFile(r.path(pass+"-"+s.name+".txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if !strings.Contains(text, "pkg: ") {
		text = "pkg: " + pkg + "\n" + text
	}
	if _, err := file.WriteString(text); err != nil {
		return err
	}
	return into.parse(strings.NewReader(text), pkg)
}

// load is a short run of the harness.
type load struct {
	name      string
	arguments []string
}

func loads() []load {
	return []load{
		{"Harness48Shards", nil},
		{"HarnessOneAtATime", []string{"--shards=1", "--in-flight=1"}},
	}
}

// load runs the harness once and writes its figures as a benchmark's: the time for an operation, and its CPU time.
func (r *runner) load(ctx context.Context, s side, l load, pass string, into samples) error {
	name := r.path("load.json")
	defer os.Remove(name)
	arguments := append([]string{"bench", "--engine=flotilla", "--warmup=1s", "--duration=2s", "--json=" + name}, l.arguments...)
	if _, err := output(ctx, s.root, s.flotilla, arguments...); err != nil {
		return err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var report struct {
		Median struct {
			Writes float64 `json:"writes_per_second"`
			CPU    float64 `json:"cpu_seconds_per_million_ops"`
			Allocs float64 `json:"allocs_per_op"`
		} `json:"median"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return fmt.Errorf("benchcheck: the harness's report: %w", err)
	}
	m := report.Median
	line := fmt.Sprintf("Benchmark%s 1 %g ns/op %g cpu-sec/op\n", l.name, 1e9/max(m.Writes, 1e-9), m.CPU/1e6)
	return r.keep(s, "harness", pass, line, into)
}

// table prints benchstat's comparison.
func (r *runner) table(ctx context.Context, benchstat, pass string) error {
	text, err := output(ctx, r.directory, benchstat, "base="+r.path(pass+"-"+r.sides[0].name+".txt"), "head="+r.path(pass+"-"+r.sides[1].name+".txt"))
	fmt.Fprint(r.out, "\n", text)
	return err
}

// output runs a program to its end; an error holds what it said last.
func output(ctx context.Context, directory, name string, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, name, arguments...)
	command.Dir = directory
	var out, errOut bytes.Buffer
	command.Stdout, command.Stderr = &out, &errOut
	if err := command.Run(); err != nil {
		said := strings.TrimSpace(errOut.String() + out.String())
		return "", fmt.Errorf("benchcheck: %s %s: %w: %s", filepath.Base(name), strings.Join(arguments, " "), err, said[max(0, len(said)-2000):])
	}
	return out.String(), nil
}
