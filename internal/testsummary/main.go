// Command testsummary runs `go test -json`, prints what a person wants to read of it (the closing line of each package as
// it comes, the whole output of what failed), and counts the tests.
//
//	testsummary [-name "with assertions"] [-report FILE] -- <arguments of go test>
//
// Its exit code is 1 if any test, package or build failed, or if no test ran at all. With -report, the closing lines are
// appended to FILE, followed by one line "counted P passed, F failed, S skipped" for whoever adds several runs up. Tests and
// subtests count alike, as the runner reports them; a package that fails outside its tests counts as one failure. Packages
// without a test that was asked for are not listed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

func main() {
	name := flag.String("name", "tests", "what to call this run in the summary")
	report := flag.String("report", "", "file to append the closing lines to")
	flag.Parse()
	if err := run(*name, *report, flag.Args(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "testsummary:", err)
		os.Exit(1)
	}
}

func run(name, report string, arguments []string, out io.Writer) error {
	started := time.Now()
	command := exec.Command("go", append([]string{"test", "-json"}, arguments...)...)
	command.Stderr = os.Stderr
	events, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	s := newSummary(out)
	readErr := s.read(events)
	waitErr := command.Wait()
	fmt.Fprintf(out, "%s: %s, %d packages, %s\n", name, s.count, len(s.closing), time.Since(started).Round(100*time.Millisecond))
	for _, failed := range s.failed {
		fmt.Fprintln(out, "failed:", failed)
	}
	if report != "" {
		if err := s.append(report); err != nil {
			return err
		}
	}
	switch {
	case readErr != nil:
		return readErr
	case waitErr != nil:
		return fmt.Errorf("go test: %w", waitErr)
	case s.count.failed > 0:
		return errors.New("go test reported failures and succeeded")
	case s.count.passed == 0:
		return errors.New("no test ran")
	}
	return nil
}
