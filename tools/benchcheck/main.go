package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// errSlower ends the command with exit code 1; other errors are faults of the tool or its surroundings, with 2.
var errSlower = errors.New("benchcheck: slower than the base")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case errors.Is(err, errSlower):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// packages have benchmarks of the stages that a command passes.
const packages = "./raftpb ./raft ./engine ./rsm ./logdb ./transport/tcp ./benchmark"

func run(ctx context.Context, arguments []string, out io.Writer) error {
	flags := flag.NewFlagSet("benchcheck", flag.ContinueOnError)
	root := flags.String("root", ".", "the working tree")
	base := flags.String("base", "", "revision to compare with; required")
	rounds := flags.Int("rounds", 10, "rounds of each revision")
	time := flags.String("benchtime", "100ms", "what go test -benchtime takes, for each benchmark and round")
	only := flags.String("only", ".", "regular expression of the benchmarks to run")
	where := flags.String("packages", packages, "packages with benchmarks")
	harness := flags.Bool("harness", true, "run the harness as well")
	benchstat := flags.String("benchstat", "", "benchstat's binary, for the table")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *base == "" || *rounds < 5 || flags.NArg() > 0 {
		return errors.New("benchcheck: want -base REVISION, and -rounds of at least 5: fewer never tell a difference")
	}
	directory, err := os.MkdirTemp("", "benchcheck-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(directory)
	r := &runner{directory: directory, packages: strings.Fields(*where), benchtime: *time, harness: *harness, out: out}
	if r.sides[0], err = r.extract(ctx, *root, *base); err != nil {
		return err
	}
	r.sides[1] = side{name: "head", root: *root}
	for i := range r.sides {
		if err := r.build(ctx, &r.sides[i]); err != nil {
			return err
		}
	}
	return check(ctx, r, *only, *rounds, *benchstat)
}

// check measures, judges, and measures once more what looks slower.
func check(ctx context.Context, r *runner, only string, rounds int, benchstat string) error {
	first, err := r.measure(ctx, only, rounds, "first")
	if err != nil {
		return err
	}
	if benchstat != "" {
		if err := r.table(ctx, benchstat, "first"); err != nil {
			return err
		}
	}
	slower := first.slower()
	if len(slower) == 0 {
		fmt.Fprintf(r.out, "\nno benchmark is slower than %s\n", r.sides[0].name)
		return nil
	}
	report(r.out, "looks slower, and is measured once more:", slower)
	second, err := r.measure(ctx, expressionOf(slower), rounds, "second")
	if err != nil {
		return err
	}
	confirmed := both(slower, second.slower())
	if len(confirmed) == 0 {
		fmt.Fprintln(r.out, "\nthe second time it was not")
		return nil
	}
	report(r.out, "slower both times:", confirmed)
	return fmt.Errorf("%w: %d benchmarks", errSlower, len(confirmed))
}

func report(out io.Writer, title string, differences []difference) {
	fmt.Fprintf(out, "\n%s\n", title)
	for _, d := range differences {
		fmt.Fprintf(out, "  %s\n", d)
	}
}

// path is a file of the temporary directory.
func (r *runner) path(parts ...string) string {
	return filepath.Join(append([]string{r.directory}, parts...)...)
}
