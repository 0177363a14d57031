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
	inTest  map[string]bool  // packages in which a test has failed
}

type key struct{ pkg, test string }

func newSummary(out io.Writer) *summary {
	return &summary{out: out, output: map[key][]string{}, inTest: map[string]bool{}}
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
		if e.Test == "" && isClosing(e.Output) && !isIdle(e.Output) {
			s.closing = append(s.closing, e.Output)
			fmt.Fprint(s.out, e.Output)
		}
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "pass", "skip", "fail":
		s.end(e.Action, k)
		delete(s.output, k)
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
	case action == "fail" && !s.inTest[k.pkg]: // did not build, panicked outside a test, TestMain failed
		s.unfinished(k.pkg)
		s.fail(k, k.pkg)
	}
}

// unfinished prints what the tests that a package's end cut short had said: the panic or the time-out is in there.
func (s *summary) unfinished(pkg string) {
	var tests []string
	for k := range s.output {
		if k.pkg == pkg && k.test != "" {
			tests = append(tests, k.test)
		}
	}
	slices.Sort(tests)
	for _, test := range tests {
		fmt.Fprint(s.out, strings.Join(s.output[key{pkg, test}], ""))
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
