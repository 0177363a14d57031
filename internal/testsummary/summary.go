package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is one line of `go test -json` (see `go doc test2json`).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output, instead of Package
	Test       string
	Output     string
}

type count struct{ passed, failed, skipped int }

func (c count) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
}

// summary digests the events of one run. Output is kept per test until the test ends, and thrown away if it passed.
type summary struct {
	out     io.Writer
	count   count
	closing []string         // closing lines of the packages: "ok …", "FAIL …", "?  …"
	failed  []string         // names of what failed
	output  map[key][]string // output of tests and packages still running
	tails   map[string][]tailLine
	inTest  map[string]bool // packages in which a test has failed
}

// tailLine is one of a package's last lines, of whichever test.
type tailLine struct{ test, text string }

// tailLength is how many lines of a package are shown when its test binary died: what came before often tells more than the last word,
// and it belongs to tests that have passed, whose own output is thrown away.
const tailLength = 40

type key struct{ pkg, test string }

func newSummary(out io.Writer) *summary {
	return &summary{out: out, output: map[key][]string{}, tails: map[string][]tailLine{}, inTest: map[string]bool{}}
}

func (s *summary) read(events io.Reader) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			s.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading events: %w", err)
		}
	}
}

// line takes one line; one that is no event (the go command may print such) is passed on.
func (s *summary) line(line []byte) {
	var e event
	if !bytes.HasPrefix(line, []byte("{")) || json.Unmarshal(line, &e) != nil {
		_, _ = s.out.Write(line)
		return
	}
	k := key{e.Package, e.Test}
	switch e.Action {
	case "output":
		s.output[k] = append(s.output[k], e.Output)
		if !isClosing(e.Output) {
			tail := append(s.tails[e.Package], tailLine{e.Test, e.Output})
			s.tails[e.Package] = tail[max(0, len(tail)-tailLength):]
		}
		if e.Test == "" && isClosing(e.Output) && !isIdle(e.Output) {
			s.closing = append(s.closing, e.Output)
			fmt.Fprint(s.out, e.Output)
		}
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "pass", "skip", "fail":
		s.end(e.Action, k)
		delete(s.output, k)
		if e.Test == "" {
			delete(s.tails, e.Package)
		}
	}
}

// isClosing tells the line that the go command ends a package with from what the package's tests print.
func isClosing(output string) bool {
	return strings.HasPrefix(output, "ok  \t") || strings.HasPrefix(output, "FAIL\t") || strings.HasPrefix(output, "?   \t")
}

// isIdle tells the closing line of a package in which no test ran.
func isIdle(closing string) bool {
	return strings.HasPrefix(closing, "?   \t") || strings.Contains(closing, "[no tests to run]")
}

func (s *summary) end(action string, k key) {
	switch {
	case action == "pass" && k.test != "":
		s.count.passed++
	case action == "skip" && k.test != "":
		s.count.skipped++
	case action == "fail" && k.test != "":
		s.fail(k, k.pkg+" "+k.test)
		s.inTest[k.pkg] = true
		s.tails[k.pkg] = slices.DeleteFunc(s.tails[k.pkg], func(line tailLine) bool { return line.test == k.test })
	case action == "fail": // of the package: by its tests, or it did not build, died within or outside a test, TestMain failed
		if cutShort := s.unfinished(k.pkg); len(cutShort) > 0 || !s.inTest[k.pkg] {
			s.showTail(k.pkg, cutShort)
			s.showUnfinished(k.pkg, cutShort)
			s.fail(k, strings.Join(append([]string{k.pkg}, cutShort...), " "))
		}
	}
}

// unfinished are the tests that a package's end cut short.
func (s *summary) unfinished(pkg string) (tests []string) {
	for k := range s.output { // in any order: they are sorted
		if k.pkg == pkg && k.test != "" {
			tests = append(tests, k.test)
		}
	}
	slices.Sort(tests)
	return tests
}

// showTail prints what the package said last and what is not shown in full elsewhere.
func (s *summary) showTail(pkg string, cutShort []string) {
	first := true
	for _, line := range s.tails[pkg] {
		if line.test == "" || slices.Contains(cutShort, line.test) {
			continue
		}
		if first {
			fmt.Fprintf(s.out, "before that, %s said last:\n", pkg)
			first = false
		}
		fmt.Fprint(s.out, line.text)
	}
}

// showUnfinished prints what the tests that were cut short had said: the panic, the time-out or the last words are in there.
func (s *summary) showUnfinished(pkg string, cutShort []string) {
	for _, test := range cutShort {
		fmt.Fprintf(s.out, "cut short: %s %s\n%s", pkg, test, strings.Join(s.output[key{pkg, test}], ""))
		delete(s.output, key{pkg, test})
	}
}

func (s *summary) fail(k key, name string) {
	s.count.failed++
	s.failed = append(s.failed, name)
	for _, output := range s.output[k] {
		if k.test != "" || !isClosing(output) {
			fmt.Fprint(s.out, output)
		}
	}
}

func (s *summary) append(path string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	text := strings.Join(s.closing, "") + fmt.Sprintf("counted %s\n", s.count)
	_, err = io.WriteString(file, text)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}
