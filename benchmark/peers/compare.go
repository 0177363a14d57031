package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/benchmark/peers/comparison"
)

const compareHelp = `Puts Flotilla, other engines and the limit under the same loads, in turns, each turn in a process of its own, and holds the
medians against the targets. Writes compare.json, compare.md and compare.html into the directory --out, anew after each repeat. If
compare.json is there already the run goes on from it: what was measured whole stays, what is missing or was interrupted is measured. So a
long comparison may be made in pieces, row by row; each case is measured in one piece, with all its subjects in turns.

Exit codes: 0 all targets are met; 1 some were missed; 3 a flag is wrong. Targets that compare across a change of the machine are
open, not missed.`

func compareCommand() *cobra.Command {
	var options comparison.Options
	var rows, out, data, title, commit string
	var again bool
	command := &cobra.Command{
		Use:   "compare",
		Short: "Compare the engines, row by row",
		Long:  compareHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options.Rows = strings.Fields(strings.ReplaceAll(rows, ",", " "))
			if _, err := comparison.Select(options.Rows); err != nil {
				return err
			}
			program, err := os.Executable()
			if err != nil {
				return failure{fmt.Errorf("find this program: %w", err)}
			}
			options.Program, options.Refusals = []string{program, "bench"}, []string{program, "refusal"}
			options.Engines, options.Out = engines(), cmd.OutOrStdout()
			if options.Earlier, err = earlierReport(out, again, options.Rows); err != nil {
				return failure{err}
			}
			if title == "" {
				title = strings.Join(append([]string{filepath.Base(program)}, os.Args[1:]...), " ")
			}
			if err := compare(cmd, options, &comparison.Report{Command: title, Commit: commit}, data, out); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	flags := command.Flags()
	flags.SortFlags = false
	flags.StringVar(&rows, "rows", "", "rows to run, as \"P1 P3\" (default: all)")
	flags.BoolVar(&options.Quick, "quick", false, "one short repeat of what matters most, under 20 minutes")
	flags.StringVar(&out, "out", "bin/compare", "directory for the reports, and of the one to go on from")
	flags.BoolVar(&again, "again", false, "measure the rows anew, also what the directory holds of them already")
	flags.StringVar(&data, "data", "", "directory for the hosts' data (default: a fresh temporary one on a disk)")
	flags.DurationVar(&options.Duration, "duration", 0, "what is measured of each repeat (default: 10s, with --quick 3s)")
	flags.DurationVar(&options.Warmup, "warmup", 0, "what runs before it (default: 3s, with --quick 1s)")
	flags.IntVar(&options.Repeat, "repeat", 0, "repeats (default: 3, with --quick 1)")
	flags.IntVar(&options.HeapMiB, "heap-mib", 0, "memory limit of the rows with equal heaps (default: 8192)")
	flags.StringVar(&commit, "commit", "unknown", "the revision that the reports name")
	flags.StringVar(&title, "command", "", "the command that the reports name (default: this one)")
	return command
}

// earlierReport reads the report to go on from, nil if there is none. Rows that are to be measured again are left out.
func earlierReport(directory string, again bool, rows []string) (*comparison.Report, error) {
	earlier, err := comparison.ReadJSON(filepath.Join(directory, "compare.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if again {
		earlier.Forget(rows)
	}
	return earlier, nil
}

// compare runs the comparison in a data directory and writes the reports as it goes.
func compare(cmd *cobra.Command, options comparison.Options, report *comparison.Report, data, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	options.Checkpoint = func(r *comparison.Report) error { return writeReports(r, out) }
	config := benchmark.Config{Data: data}
	err := benchmark.WithDirectory(config, options.Out, func(path string) error {
		options.Data = path
		return comparison.Run(cmd.Context(), options, report)
	})
	if len(report.Cases) > 0 {
		fmt.Fprintln(options.Out)
		err = errors.Join(err, report.WriteMarkdown(options.Out))
		fmt.Fprintf(options.Out, "\nwritten: %s\n", filepath.Join(out, "compare.{json,md,html}"))
	}
	return err
}

func writeReports(r *comparison.Report, directory string) error {
	if err := r.WriteJSON(filepath.Join(directory, "compare.json")); err != nil {
		return err
	}
	page, err := os.Create(filepath.Join(directory, "compare.html"))
	if err != nil {
		return err
	}
	table, err := os.Create(filepath.Join(directory, "compare.md"))
	if err != nil {
		return errors.Join(err, page.Close())
	}
	return errors.Join(r.WriteHTML(page), r.WriteMarkdown(table), page.Close(), table.Close())
}

// pageCommand puts a report that was made before into a page of the documentation.
func pageCommand() *cobra.Command {
	var from, page string
	command := &cobra.Command{
		Use:   "page",
		Short: "Write a report's tables into a page of the documentation, between its two marks",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			report, err := comparison.ReadJSON(from)
			if err != nil {
				return failure{err}
			}
			report.Judge(comparison.Rows()) // by the targets of today
			if err := report.UpdatePage(page); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	command.Flags().StringVar(&from, "json", "bin/compare/compare.json", "the report")
	command.Flags().StringVar(&page, "page", "docs/performance.md", "the page")
	return command
}
