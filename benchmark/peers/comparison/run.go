package comparison

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// ErrFailed is returned, wrapped, if targets were missed.
var ErrFailed = errors.New("comparison: targets were missed")

// errPage is wrapped if a page has no place for a report.
var errPage = errors.New("comparison: no place for the report")

// errRows is wrapped if a row is asked for that there is not.
var errRows = errors.New("comparison: no such row")

// Options say how a comparison is made.
type Options struct {
	// Rows are the names of those to run, in the table's order; all if empty.
	Rows []string
	// Quick is for a look in under 20 minutes: one short repeat, without what is FullOnly.
	Quick bool
	// Duration, Warmup and Repeat are those of a case that has none of its own. Defaults: 10 s, 3 s and 3; if Quick, 3 s, 1 s and 1.
	Duration, Warmup time.Duration
	Repeat           int
	// HeapMiB is the memory limit of cases with EqualHeap. Default 8,192: above the greatest live heap that any subject has.
	HeapMiB int
	// Program and its first arguments run the harness: flags follow. Each turn is a process of its own.
	Program []string
	// Refusals and its arguments measure what a refusal costs, for the case that asks for it.
	Refusals []string
	// Earlier is a report that this one goes on from: cases that it holds whole, of the same extent, are kept as they are.
	Earlier *Report
	// Engines are those that Program knows.
	Engines []benchmark.Engine
	// Data is the directory for the hosts' data, and for one file of each turn. Required.
	Data string
	// Checkpoint is called after each repeat of a case with what there is so far.
	Checkpoint func(*Report) error
	// Out takes the progress.
	Out io.Writer
}

func (o *Options) setDefaults() {
	duration, warmup, repeat := 10*time.Second, 3*time.Second, 3
	if o.Quick {
		duration, warmup, repeat = 3*time.Second, time.Second, 1
	}
	if o.Duration == 0 {
		o.Duration = duration
	}
	if o.Warmup == 0 {
		o.Warmup = warmup
	}
	if o.Repeat == 0 {
		o.Repeat = repeat
	}
	if o.HeapMiB == 0 {
		o.HeapMiB = 8192
	}
	if o.Checkpoint == nil {
		o.Checkpoint = func(*Report) error { return nil }
	}
}

// Select returns the rows of the given names, all if there are none.
func Select(names []string) ([]Row, error) {
	all := Rows()
	if len(names) == 0 {
		return all, nil
	}
	var chosen []Row
	var known []string
	for _, row := range all {
		known = append(known, row.Name)
		if slices.Contains(names, row.Name) {
			chosen = append(chosen, row)
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%w: %q (there are %s)", errRows, name, strings.Join(known, " "))
		}
	}
	return chosen, nil
}

// Run makes the comparison and judges it. The report holds what was measured also if there is an error.
func Run(ctx context.Context, options Options, report *Report) error {
	options.setDefaults()
	rows, err := Select(options.Rows)
	if err != nil {
		return err
	}
	report.Machine, report.Quick, report.Began = ThisMachine(options.Data), options.Quick, time.Now()
	if err := report.goOnFrom(options.Earlier); err != nil {
		return err
	}
	r := &runner{Options: options, report: report}
	fmt.Fprintf(r.Out, "%s\ncommit %s\nabout %v", report.Machine, report.Commit, r.estimate(rows).Round(time.Minute))
	for _, row := range rows {
		fmt.Fprintf(r.Out, ", %s %v", row.Name, r.estimate([]Row{row}).Round(time.Second))
	}
	fmt.Fprintln(r.Out)
	for _, row := range rows {
		for _, c := range row.Cases {
			if c.FullOnly && r.Quick {
				continue
			}
			if r.measured(c) {
				fmt.Fprintf(r.Out, "%s  was measured before: kept\n", c.Name)
				continue
			}
			if err := r.runCase(ctx, row, c); err != nil {
				return err
			}
		}
	}
	report.Judge(Rows())
	if missed := report.Missed(); missed > 0 {
		return fmt.Errorf("%w: %d of %d", ErrFailed, missed, len(report.Verdicts))
	}
	return nil
}

type runner struct {
	Options
	report *Report
}

// turnOverhead is what a turn takes besides warm-up and measuring: start, end check, yardsticks.
const turnOverhead = 5 * time.Second

// estimate is about how long the rows take.
func (r *runner) estimate(rows []Row) (sum time.Duration) {
	for _, row := range rows {
		for _, c := range row.Cases {
			if c.FullOnly && r.Quick || r.report != nil && r.measured(c) {
				continue
			}
			duration, repeat := r.extent(c)
			if c.Refusals {
				duration = 0
			}
			sum += time.Duration(repeat*len(r.subjectsOf(c))) * (duration + r.Warmup + turnOverhead)
		}
	}
	return sum
}

func (r *runner) extent(c Case) (duration time.Duration, repeat int) {
	duration, repeat = r.Duration, r.Repeat
	if c.Duration != 0 {
		duration = c.Duration
	}
	if c.Repeat != 0 {
		repeat = min(repeat, c.Repeat)
	}
	return duration, repeat
}

// subjectsOf returns who is measured in this run.
func (r *runner) subjectsOf(c Case) (chosen []Subject) {
	all := Subjects()
	for _, name := range c.Subjects {
		i := slices.IndexFunc(all, func(s Subject) bool { return s.Name == name })
		if i >= 0 && !(r.Quick && all[i].FullOnly) {
			chosen = append(chosen, all[i])
		}
	}
	return chosen
}

// runCase makes the repeats of all subjects in turns, so that a machine that drifts is shared by all.
func (r *runner) runCase(ctx context.Context, row Row, c Case) error {
	duration, repeat := r.extent(c)
	subjects := r.subjectsOf(c)
	report := CaseReport{
		Row: row.Name, Name: c.Name, Title: row.Title, Seconds: duration.Seconds(), EqualHeap: c.EqualHeap,
		Commit: r.report.Commit, Command: r.report.Command, Began: time.Now(), Planned: repeat, Interrupted: true,
	}
	configs := make([]benchmark.Config, len(subjects))
	for i, s := range subjects {
		configs[i] = r.config(c, s, duration)
		report.Subjects = append(report.Subjects, SubjectReport{Name: s.Name})
		if err := configs[i].Validate(r.Engines); err != nil {
			report.Subjects[i].Unavailable = strings.Join(strings.Fields(err.Error()), " ")
		} else if configs[i].Offered == unknownPeak {
			report.Subjects[i].Unavailable = "needs the rate of " + c.Peak
		}
		if reason := report.Subjects[i].Unavailable; reason != "" {
			fmt.Fprintf(r.Out, "%s  %s  NOT AVAILABLE: %s\n", c.Name, s.Name, reason)
		}
	}
	for number := range repeat {
		for i := range subjects {
			s := &report.Subjects[i]
			if s.Unavailable != "" {
				continue
			}
			fmt.Fprintf(r.Out, "%s  %s  repeat %d of %d: ", c.Name, s.Name, number+1, repeat)
			result, err := r.turn(ctx, c, configs[i])
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				s.Failures = append(s.Failures, err.Error())
				fmt.Fprintf(r.Out, "FAILED: %v\n", err)
				continue
			}
			fmt.Fprintln(r.Out, outcomeOf(c, &result))
			s.LogDB = result.LogDB
			s.Repeats = append(s.Repeats, result)
		}
		report.Interrupted = number+1 < repeat
		if err := r.checkpoint(report); err != nil {
			return err
		}
	}
	return nil
}

// outcomeOf is the line about a turn.
func outcomeOf(c Case, result *benchmark.Result) string {
	if c.Refusals {
		return fmt.Sprintf("%.3g ns and %.3g allocations a refusal", result.RefusalNanoseconds, result.RefusalAllocs)
	}
	return fmt.Sprintf("%s/s  p50 %.2f ms  p99 %.2f ms  %.3g CPU s/M", benchmark.FormatFigure(result.WritesPerSecond+result.ReadsPerSecond),
		result.WriteLatency.P50, result.WriteLatency.P99, result.CPUSecondsPerMillion)
}

// checkpoint takes over what there is of a case, judges anew and shows it. The judgement is of all that was ever measured, whichever rows run
// now.
func (r *runner) checkpoint(c CaseReport) error {
	c.Subjects = slices.Clone(c.Subjects)
	for i := range c.Subjects {
		if s := &c.Subjects[i]; len(s.Repeats) > 0 {
			median := benchmark.MedianOf(s.Repeats)
			s.Median = &median
		}
	}
	c.Ended = time.Now()
	r.report.put(c)
	r.report.Ended = c.Ended
	r.report.Judge(Rows())
	return r.Checkpoint(r.report)
}

// unknownPeak is offered where the rate to take a share of was not measured; it is never really offered.
const unknownPeak = 1

// config is the harness's configuration for a turn.
func (r *runner) config(c Case, s Subject, duration time.Duration) benchmark.Config {
	config := benchmark.DefaultConfig(s.Engine)
	config.LogDB = s.LogDB
	c.Load(&config)
	config.Duration, config.Warmup, config.Data = duration, r.Warmup, filepath.Join(r.Data, "hosts")
	if c.OfferedShare > 0 {
		config.Offered = unknownPeak
		if peak := r.report.caseNamed(c.Peak); peak != nil {
			if subject := peak.subject(s.Name); subject != nil {
				config.Offered = max(unknownPeak, c.OfferedShare*subject.rate())
			}
		}
	}
	return config
}

// turn runs the harness once, in a process of its own.
func (r *runner) turn(ctx context.Context, c Case, config benchmark.Config) (benchmark.Result, error) {
	config.JSON = filepath.Join(r.Data, "turn.json")
	limit := config.Warmup + config.Duration + 8*time.Minute // for start, drain and check, which have limits of their own
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	program, arguments := r.Program, Arguments(config, r.Engines)
	if c.Refusals {
		program, arguments = r.Refusals, []string{"--data=" + config.Data, "--json=" + config.JSON}
	}
	command := exec.CommandContext(ctx, program[0], append(slices.Clone(program[1:]), arguments...)...)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 30 * time.Second
	if c.EqualHeap {
		command.Env = append(os.Environ(), fmt.Sprintf("GOMEMLIMIT=%dMiB", r.HeapMiB), "GOGC=off")
	}
	output, err := command.CombinedOutput()
	defer os.RemoveAll(config.Data)
	if err != nil {
		return benchmark.Result{}, fmt.Errorf("%w: %s", err, lastLines(string(output)))
	}
	text, err := os.ReadFile(config.JSON)
	if err != nil {
		return benchmark.Result{}, err
	}
	defer os.Remove(config.JSON)
	var report benchmark.Report
	if err := json.Unmarshal(text, &report); err != nil {
		return benchmark.Result{}, err
	}
	return report.Median, nil
}

// Arguments writes a configuration as flags of the command line.
func Arguments(config benchmark.Config, engines []benchmark.Engine) (arguments []string) {
	for _, flag := range benchmark.NewFlags(&config, engines).List {
		if value := flag.String(); value != "" {
			arguments = append(arguments, "--"+flag.Name+"="+value)
		}
	}
	return arguments
}

// lastLines keeps of a process's output what says why it ended: the first line of a panic, or the last ones.
func lastLines(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "panic: ") || strings.HasPrefix(l, "fatal error: ") {
			return strings.Join(lines[max(0, i-1):i+1], " | ")
		}
	}
	return strings.Join(lines[max(0, len(lines)-3):], " | ")
}

// ConfigOf returns the harness's configuration of a subject under a case, named for itself or, if it is the first of its row, for the row.
// Cases that offer a share of another's rate have none before that has run.
func ConfigOf(name, subject string) (benchmark.Config, error) {
	for _, row := range Rows() {
		for _, c := range row.Cases {
			if c.Name != name && row.Name != name || c.OfferedShare > 0 {
				continue
			}
			if subject == Flotilla && strings.HasPrefix(c.Subjects[0], Flotilla) {
				subject = c.Subjects[0] // by blocking calls, where the case is about them
			}
			i := slices.IndexFunc(Subjects(), func(s Subject) bool { return s.Name == subject })
			if i < 0 {
				return benchmark.Config{}, fmt.Errorf("%w: no subject %q", errRows, subject)
			}
			r := &runner{report: &Report{}}
			r.setDefaults()
			config := r.config(c, Subjects()[i], r.Duration)
			config.Data = ""
			return config, nil
		}
	}
	return benchmark.Config{}, fmt.Errorf("%w: %q", errRows, name)
}
