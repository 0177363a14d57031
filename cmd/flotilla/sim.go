package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-raft/flotilla/simulation"
)

const simHelp = `Runs whole clusters of the engine in one goroutine on a virtual clock, network and disks, breaks them as the profile says,
and checks what they do. The same seed gives the same run.

  flotilla sim --seed 7 --profile everything --hosts 5 --shards 10
  flotilla sim --seeds 1..2000 --profile everything --budget 10m

Profiles: %s.

Exit codes: 0 every property held; 1 one did not: the property, the command that runs the seed again and the end of its trace are printed,
and the whole trace is written to a file; 2 the budget ended before the last seed; 3 a flag is wrong.`

// errBudget says that the budget ended before the last seed.
var errBudget = errors.New("the budget ended before the last seed")

// simulate holds the flags of the command.
type simulate struct {
	options     simulation.Options
	seeds       string
	budget      time.Duration
	traceFile   string
	reportFile  string
	requireRare bool
	quiet       bool
	minimize    bool
}

func simCommand() *cobra.Command {
	s := &simulate{}
	command := &cobra.Command{
		Use:   "sim",
		Short: "Run the deterministic simulator",
		Long:  fmt.Sprintf(simHelp, strings.Join(simulation.Profiles(), ", ")),
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return s.run(cmd.OutOrStdout()) },
	}
	flags := command.Flags()
	flags.SortFlags = false
	flags.Uint64Var(&s.options.Seed, "seed", 1, "the one seed to run")
	flags.StringVar(&s.seeds, "seeds", "", "a range of seeds to run instead, as A..B, both included")
	flags.DurationVar(&s.budget, "budget", 0, "how long to go on with a range of seeds; 0: to its end")
	flags.StringVar(&s.options.Profile, "profile", "everything", "the mix of faults")
	flags.IntVar(&s.options.Hosts, "hosts", 0, "number of hosts, 3 to 7; 0: drawn")
	flags.IntVar(&s.options.Shards, "shards", 0, "number of shards, 1 to 50; 0: drawn")
	flags.DurationVar(&s.options.Duration, "duration", time.Minute, "how long faults and clients go on, in virtual time")
	flags.Uint64Var(&s.options.Steps, "steps", 0, "end that after so many events; 0: no limit")
	flags.IntVar(&s.options.Rate, "rate", 220, "client operations per second of virtual time")
	flags.StringVar(&s.traceFile, "trace", "", "file for the whole trace (one seed), default after a violation: flotilla-sim-SEED.trace in the temporary directory")
	flags.StringVar(&s.reportFile, "report", "", "file to add a line of JSON to: seeds, virtual time, how often what occurred; docs/proof.md is made of such lines")
	flags.BoolVar(&s.requireRare, "require-all", false, "fail if a kind of fault or event never occurred in the whole range")
	flags.StringVar(&s.options.LogDB, "logdb", "seglog", "the log store, seglog, pebble or model; a run with pebble is drawn from the seed, but not the same each time")
	flags.BoolVar(&s.options.NoPorcupine, "no-porcupine", false, "leave the histories' second check out")
	flags.BoolVar(&s.options.IgnoreFences, "ignore-fences", false, "look only at what the checkers outside the engine find")
	flags.StringSliceVar(&s.options.Without, "without", nil, "kinds of faults to leave out")
	flags.BoolVar(&s.minimize, "minimize", false, "after a violation look for fewer faults that show it")
	flags.BoolVar(&s.quiet, "quiet", false, "print the summary only")
	return command
}

func (s *simulate) run(out io.Writer) error {
	first, last, err := s.span()
	if err != nil {
		return err
	}
	if err := s.options.Validate(); err != nil {
		return err
	}
	began := time.Now()
	var total simulation.Counters
	report := simulation.Report{Profile: s.options.Profile, LogDB: s.options.LogDB}
	for seed := first; ; seed++ {
		if s.budget > 0 && time.Since(began) >= s.budget {
			if err := s.ended(out, &report, time.Since(began), &total); err != nil {
				return failure{err}
			}
			return failure{errBudget}
		}
		result, err := s.one(seed, first == last)
		if err != nil {
			return failure{err}
		}
		report.Add(&result)
		total.Merge(&result.Counters)
		if !s.quiet || first == last {
			_, _ = fmt.Fprintf(out, "seed %d: %d hosts, %d shards, %.1f s, %d events, %d operations, %d faults, trace %016x\n", seed, result.Hosts, result.Shards,
				result.Virtual.Seconds(), result.Steps, result.Counters.Operations(), result.Counters.Faults(), result.Hash)
		}
		if result.Violation != nil {
			report.Real = time.Since(began)
			return errors.Join(s.violated(out, result), s.writeReport(&report))
		}
		if seed == last {
			break
		}
	}
	if err := s.ended(out, &report, time.Since(began), &total); err != nil {
		return failure{err}
	}
	if missing := total.Missing(s.options.Profile); s.requireRare && len(missing) > 0 {
		return failure{fmt.Errorf("never occurred: %s", strings.Join(missing, ", "))}
	}
	return nil
}

// span returns the seeds to run.
func (s *simulate) span() (first, last uint64, err error) {
	if s.seeds == "" {
		return s.options.Seed, s.options.Seed, nil
	}
	from, to, found := strings.Cut(s.seeds, "..")
	if found {
		if first, err = strconv.ParseUint(from, 10, 64); err == nil {
			last, err = strconv.ParseUint(to, 10, 64)
		}
	}
	if !found || err != nil || last < first {
		return 0, 0, fmt.Errorf("--seeds is %q, accepted is A..B with A at most B", s.seeds)
	}
	return first, last, nil
}

// one runs a seed. The trace is written while a single seed runs, and else by running a seed that failed again.
func (s *simulate) one(seed uint64, single bool) (simulation.Result, error) {
	options := s.options
	options.Seed = seed
	if !single || s.traceFile == "" {
		return simulation.Run(options)
	}
	return traced(options, s.traceFile)
}

func traced(options simulation.Options, name string) (simulation.Result, error) {
	file, err := os.Create(name)
	if err != nil {
		return simulation.Result{}, err
	}
	result, err := simulation.RunTraced(options, file)
	return result, errors.Join(err, file.Close())
}

// violated reports a violation.
func (s *simulate) violated(out io.Writer, result simulation.Result) error {
	v := result.Violation
	options := s.options
	options.Seed = result.Seed
	name := s.traceFile
	if name == "" || s.seeds != "" {
		name = fmt.Sprintf("%s%cflotilla-sim-%d.trace", strings.TrimSuffix(os.TempDir(), "/"), os.PathSeparator, result.Seed)
		if _, err := traced(options, name); err != nil {
			_, _ = fmt.Fprintf(out, "no trace file: %v\n", err)
		}
	}
	_, _ = fmt.Fprintf(out, "\nthe last events of seed %d:\n%s\n\n%v\nproperty: %s\nseed: %d\ntrace: %s\nagain: %s\n", result.Seed,
		strings.Join(v.Tail, "\n"), &result.Counters, v.Property, result.Seed, name, s.command(&options))
	if s.minimize {
		smaller, again, err := simulation.Minimize(options)
		if err != nil {
			return failure{err}
		}
		_, _ = fmt.Fprintf(out, "smaller: %s (%v)\n", s.command(&smaller), again.Violation)
	}
	return failure{v}
}

// command returns the command line that runs the seed again.
func (s *simulate) command(o *simulation.Options) string {
	line := fmt.Sprintf("flotilla sim --seed %d --profile %s --logdb %s --duration %v --rate %d", o.Seed, o.Profile, o.LogDB, o.Duration, o.Rate)
	for _, flag := range []struct {
		name  string
		value uint64
	}{{"hosts", uint64(o.Hosts)}, {"shards", uint64(o.Shards)}, {"steps", o.Steps}} {
		if flag.value != 0 {
			line += fmt.Sprintf(" --%s %d", flag.name, flag.value)
		}
	}
	if len(o.Without) > 0 {
		line += " --without " + strings.Join(o.Without, ",")
	}
	if o.IgnoreFences {
		line += " --ignore-fences"
	}
	return line
}

// ended prints the summary and writes the report.
func (s *simulate) ended(out io.Writer, r *simulation.Report, took time.Duration, total *simulation.Counters) error {
	r.Real = took
	seconds := max(took.Seconds(), 1e-9)
	_, _ = fmt.Fprintf(out, "%v\n%d seeds in %.1f s: %.2f a second, %.0f s of virtual time, %.0f times as fast as real time\n", total, r.Seeds, seconds,
		float64(r.Seeds)/seconds, r.Virtual.Seconds(), r.Virtual.Seconds()/seconds)
	return s.writeReport(r)
}

func (s *simulate) writeReport(r *simulation.Report) error {
	if s.reportFile == "" {
		return nil
	}
	file, err := os.OpenFile(s.reportFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(r.Write(file), file.Close())
}
