package comparison

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// failing are options under which every turn fails at once, which is a result, too.
func failing(t *testing.T, rows ...string) Options {
	return Options{
		Rows: rows, Repeat: 2, Program: []string{"go", "no-such-command"}, Refusals: []string{"go", "no-such-command"}, Engines: knownEngines(true),
		Data: t.TempDir(), Out: io.Discard, Checkpoint: func(*Report) error { return nil },
	}
}

func caseNames(r *Report) (names []string) {
	for _, c := range r.Cases {
		names = append(names, c.Name)
	}
	return names
}

// TestAComparisonIsMadeInPieces: rows that run later are put at their place, what was measured whole is not measured again, and what was
// interrupted is.
func TestAComparisonIsMadeInPieces(t *testing.T) {
	first := &Report{Commit: "first"}
	if err := Run(context.Background(), failing(t, "P7"), first); !errors.Is(err, ErrFailed) {
		t.Fatalf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	options := failing(t, "P3", "P7")
	options.Earlier = first
	options.Checkpoint = func(*Report) error { cancel(); return nil }
	second := &Report{Commit: "second"}
	if err := Run(ctx, options, second); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if got := caseNames(second); !slices.Equal(got, []string{"P3", "P7/index", "P7/lease"}) {
		t.Fatalf("the report holds %v", got)
	}
	if c := second.Cases[0]; !c.Interrupted || c.Planned != 2 || len(c.Subjects[0].Failures) != 1 || c.Commit != "second" {
		t.Errorf("the interrupted case: %+v", c)
	}
	for _, v := range second.Verdicts {
		if v.Case == "P3" && v.Verdict != NotMeasured {
			t.Errorf("a case that was interrupted is judged: %+v", v)
		}
	}
	options = failing(t, "P3", "P7")
	options.Earlier = second
	third := &Report{Commit: "third"}
	if err := Run(context.Background(), options, third); !errors.Is(err, ErrFailed) {
		t.Fatalf("got %v", err)
	}
	for i, want := range []string{"third", "third", "first", "first"} {
		if c := third.Cases[i]; c.Interrupted || c.Commit != want || len(c.Subjects[0].Failures) != 2 {
			t.Errorf("%s: commit %s, want %s; %+v", c.Name, c.Commit, want, c)
		}
	}
	if third.Began != first.Began {
		t.Error("the report does not say when its first piece began")
	}
	third.Forget([]string{"P3"})
	if got := caseNames(third); !slices.Equal(got, []string{"P7/index", "P7/lease"}) {
		t.Errorf("left of the report are %v", got)
	}
}

// TestACaseOfAnotherExtentIsMeasuredAgain also by fewer repeats than are asked for.
func TestACaseOfAnotherExtentIsMeasuredAgain(t *testing.T) {
	earlier := &Report{}
	if err := Run(context.Background(), failing(t, "P9"), earlier); !errors.Is(err, ErrFailed) {
		t.Fatalf("got %v", err)
	}
	for name, change := range map[string]func(*Options){
		"longer":       func(o *Options) { o.Duration = time.Minute },
		"more repeats": func(o *Options) { o.Repeat = 3 },
	} {
		options := failing(t, "P9")
		options.Earlier = earlier
		change(&options)
		var out strings.Builder
		options.Out = &out
		if err := Run(context.Background(), options, &Report{}); !errors.Is(err, ErrFailed) {
			t.Fatalf("got %v", err)
		}
		if strings.Contains(out.String(), "kept") {
			t.Errorf("%s: %s", name, out.String())
		}
	}
}

func TestReportsThatDoNotGoTogether(t *testing.T) {
	for name, change := range map[string]func(*Report){
		"another machine": func(r *Report) { r.Machine.Cores++ },
		"a quick run":     func(r *Report) { r.Quick = true },
	} {
		options := failing(t, "P9")
		options.Earlier = &Report{Machine: ThisMachine(options.Data), Cases: []CaseReport{{Name: "P1"}}}
		change(options.Earlier)
		if err := Run(context.Background(), options, &Report{}); !errors.Is(err, ErrOtherRun) {
			t.Errorf("%s: %v", name, err)
		}
		options.Earlier.Forget(nil)
		if err := Run(context.Background(), options, &Report{}); !errors.Is(err, ErrFailed) {
			t.Errorf("%s, forgotten: %v", name, err)
		}
	}
}
