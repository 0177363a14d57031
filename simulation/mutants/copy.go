package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// silent replaces the assertions inside the product: what they would notice has to be found from outside.
const silent = `// Package invariant checks nothing in a mutated copy.
package invariant

import "fmt"

type Violation struct{ Message string }

func (v Violation) Error() string { return fmt.Sprint(v.Message) }

func Check(bool, string) {}

func Fail(string, ...any) {}
`

// copyOf is a copy of the tree that patches are applied to, one at a time.
type copyOf struct{ root string }

// skipped are directories that the simulator does not need.
var skipped = map[string]bool{".git": true, "bin": true, "docs": true, "tools": true, "scripts": true, "testdata": true}

func (c copyOf) make(from string) error {
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if skipped[entry.Name()] {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(c.root, relative), 0o755)
		}
		name := entry.Name()
		if name != "go.mod" && name != "go.sum" && (!strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go")) {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(c.root, relative), content, 0o644)
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.root, "internal", "invariant", "invariant.go"), []byte(silent), 0o644)
}

func (c copyOf) command(name string, arguments ...string) *exec.Cmd {
	command := exec.Command(name, arguments...)
	command.Dir = c.root
	return command
}

// hunt applies a patch, builds the copy and runs it until a violation is found, and takes the patch back.
func (c copyOf) hunt(m mutant, s *settings) (f finding, err error) {
	f.mutant = m.name
	if output, err := c.command("git", "apply", "-C1", "--whitespace=nowarn", m.path).CombinedOutput(); err != nil {
		return f, fmt.Errorf("does not apply: %s", firstLine(output))
	}
	defer func() {
		if output, undo := c.command("git", "apply", "-C1", "--whitespace=nowarn", "-R", m.path).CombinedOutput(); undo != nil {
			err = errors.Join(err, fmt.Errorf("cannot be taken back: %s", firstLine(output)))
		}
	}()
	binary := filepath.Join(c.root, "mutant")
	if output, err := c.command("go", "build", "-trimpath", "-buildvcs=false", "-o", binary, "./simulation/mutants").CombinedOutput(); err != nil {
		return f, fmt.Errorf("does not build: %s", output)
	}
	if s.applyOnly {
		return f, nil
	}
	command := c.command(binary, "--simulate", m.profile, "--logdb", m.logDB, "--seed", strconv.FormatUint(s.seed, 10), "--budget", s.budget.String())
	output, err := command.Output()
	if command.ProcessState != nil {
		f.spent = command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return f, fmt.Errorf("not found: %s", firstLine(output))
	case errors.As(err, &exit) && exit.ExitCode() == exitFound:
		return f, f.parse(firstLine(output))
	}
	return f, fmt.Errorf("the simulator failed: %w", err)
}

func firstLine(output []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(output)), "\n")
	return line
}
