package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// finding is a violation that the simulator found in a mutant, and what it took.
type finding struct {
	mutant   string
	spent    time.Duration // of CPU
	profile  string
	seed     uint64
	runs     int
	property string
	detail   string
}

var errFinding = errors.New("not a line of results")

// line is how a finding is told by the mutant itself, without its name and the time.
func (f *finding) line() string {
	return strings.Join([]string{f.profile, strconv.FormatUint(f.seed, 10), strconv.Itoa(f.runs), f.property, strings.ReplaceAll(f.detail, "\n", " ")}, "\t")
}

func (f *finding) parse(line string) error {
	fields := strings.SplitN(line, "\t", 5)
	if len(fields) < 5 {
		return fmt.Errorf("%w: %q", errFinding, line)
	}
	var err, errRuns error
	f.profile, f.property, f.detail = fields[0], fields[3], fields[4]
	f.seed, err = strconv.ParseUint(fields[1], 10, 64)
	f.runs, errRuns = strconv.Atoi(fields[2])
	return errors.Join(err, errRuns)
}

// readResults reads a file of results, the last of each mutant; a file that is not there has none.
func readResults(path string) (map[string]finding, error) {
	results := map[string]finding{}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return results, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), "\t")
		seconds, rest, _ := strings.Cut(rest, "\t")
		spent, err := strconv.ParseFloat(seconds, 64)
		f := finding{mutant: name, spent: time.Duration(spent * float64(time.Second))}
		if err := errors.Join(err, f.parse(rest)); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		results[name] = f
	}
	return results, nil
}

// appendResult writes one result behind the others.
func appendResult(path string, f *finding) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(file, "%s\t%.1f\t%s\n", f.mutant, f.spent.Seconds(), f.line())
	return errors.Join(err, file.Close())
}
