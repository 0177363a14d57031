package comparison

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// TestRowsAreSound holds the table against itself: names are unique, what is named exists, what a target is about is measured, and
// what runs quickly has all that its targets need.
func TestRowsAreSound(t *testing.T) {
	var subjects []string
	for _, s := range Subjects() {
		if slices.Contains(subjects, s.Name) {
			t.Errorf("subject %s twice", s.Name)
		}
		subjects = append(subjects, s.Name)
	}
	cases := map[string]Case{}
	var order, rows []string
	for _, row := range Rows() {
		rows = append(rows, row.Name)
		for _, c := range row.Cases {
			if _, twice := cases[c.Name]; twice {
				t.Errorf("case %s twice", c.Name)
			}
			if c.Name != row.Name && !strings.HasPrefix(c.Name, row.Name+"/") {
				t.Errorf("case %s of row %s", c.Name, row.Name)
			}
			cases[c.Name] = c
			order = append(order, c.Name)
			for _, name := range c.Subjects {
				if !slices.Contains(subjects, name) {
					t.Errorf("case %s: there is no subject %s", c.Name, name)
				}
			}
			if c.OfferedShare > 0 && !slices.Contains(order, c.Peak) {
				t.Errorf("case %s needs %s, which did not run before", c.Name, c.Peak)
			}
		}
	}
	for _, name := range strings.Fields("P1 P2 P3 P4 P5 P6 P7 P8 P9 P10 P11 P12") {
		if !slices.Contains(rows, name) {
			t.Errorf("there is no row %s", name)
		}
	}
	for _, row := range Rows() {
		for _, target := range row.Targets {
			checkTarget(t, row, target, cases)
		}
	}
}

func checkTarget(t *testing.T, row Row, target Target, cases map[string]Case) {
	t.Helper()
	own, known := cases[target.Case]
	if !known || !strings.HasPrefix(target.Case, row.Name) {
		t.Errorf("%s: %q is about case %q", row.Name, target, target.Case)
	}
	if !strings.HasPrefix(own.Subjects[0], Flotilla) {
		t.Errorf("%s: the first subject of %s is %s", row.Name, own.Name, own.Subjects[0])
	}
	var result benchmark.Result
	if _, known := result.Figure(target.Metric); !known {
		t.Errorf("%s: no figure %s", row.Name, target.Metric)
	}
	other := own
	if target.AgainstCase != "" {
		if other, known = cases[target.AgainstCase]; !known {
			t.Errorf("%s: %q is against no case", row.Name, target)
		}
	}
	if target.Against != "" && !slices.Contains(other.Subjects, target.Against) {
		t.Errorf("%s: %q is against %s, which %s has not", row.Name, target, target.Against, other.Name)
	}
	if other.FullOnly && !own.FullOnly {
		t.Errorf("%s: %q needs %s, which does not run quickly", row.Name, target, other.Name)
	}
}

// TestLoadsAreAccepted has the harness check the configuration of every case, for every subject that claims to support it.
func TestLoadsAreAccepted(t *testing.T) {
	engines := knownEngines(true)
	for _, row := range Rows() {
		for _, c := range row.Cases {
			r := &runner{Options: Options{Data: t.TempDir()}, report: &Report{}}
			r.setDefaults()
			for _, s := range r.subjectsOf(c) {
				config := r.config(c, s, r.Duration)
				if err := config.Validate(engines); err != nil {
					t.Errorf("%s, %s: %v", c.Name, s.Name, err)
				}
				back := benchmark.DefaultConfig("flotilla")
				flags := benchmark.NewFlags(&back, engines)
				for _, argument := range Arguments(config, engines) {
					name, value, _ := strings.Cut(strings.TrimPrefix(argument, "--"), "=")
					i := slices.IndexFunc(flags.List, func(f *benchmark.Flag) bool { return f.Name == name })
					if err := flags.List[i].Set(value); err != nil {
						t.Error(err)
					}
				}
				if err := flags.Err(); err != nil || back.Shards != config.Shards || back.Offered != config.Offered || back.Delay != config.Delay ||
					back.SnapshotEntries != config.SnapshotEntries || back.OwnContext != config.OwnContext || back.Reads != config.Reads {
					t.Errorf("%s, %s: the command line gives %+v, %v\nwant %+v", c.Name, s.Name, back, err, config)
				}
			}
		}
	}
}

// knownEngines are engines that start nothing, with all abilities or without snapshots.
func knownEngines(snapshots bool) (engines []benchmark.Engine) {
	for _, name := range []string{"flotilla", "limit", "limit-overwriting", "dragonboat", "dragonboat-default", "dragonboat-tan", "hashicorp"} {
		engines = append(engines, benchmark.Engine{
			Name: name, Reads: true, Leases: true, Snapshots: snapshots, LogDBs: []string{"pebble", "seglog"}, Transports: []string{"tcp"},
		})
	}
	return engines
}

func TestSelectRows(t *testing.T) {
	rows, err := Select([]string{"P3", "P1"})
	if err != nil || len(rows) != 2 || rows[0].Name != "P1" || rows[1].Name != "P3" {
		t.Errorf("got %v, %v", rows, err)
	}
	if all, err := Select(nil); err != nil || len(all) != len(Rows()) {
		t.Errorf("%d rows, %v", len(all), err)
	}
	if _, err := Select([]string{"P1", "P99"}); !errors.Is(err, errRows) || !strings.Contains(err.Error(), `"P99"`) {
		t.Errorf("got %v", err)
	}
}

// TestTimeOfARun holds the estimates against what is promised.
func TestTimeOfARun(t *testing.T) {
	for _, quick := range []bool{false, true} {
		r := &runner{Options: Options{Quick: quick}}
		r.setDefaults()
		minutes := r.estimate(Rows()).Minutes()
		t.Logf("quick %t: %.0f minutes", quick, minutes)
		if most := map[bool]float64{false: 120, true: 20}[quick]; minutes > most {
			t.Errorf("quick %t: %.0f minutes, at most %.0f are promised", quick, minutes, most)
		}
	}
}

func TestConfigOf(t *testing.T) {
	for name, want := range map[string]string{"P3": "flotilla", "P6/1 KiB": "flotilla", "P11": "flotilla:blocking", "P12": "flotilla"} {
		config, err := ConfigOf(name, Flotilla)
		if err != nil || config.Engines[0] != want || config.Data != "" {
			t.Errorf("%s: %+v, %v", name, config, err)
		}
	}
	if config, err := ConfigOf("P6/1 KiB", Limit); err != nil || config.Engines[0] != "limit" || config.Payload != 1024 {
		t.Errorf("got %+v, %v", config, err)
	}
	for _, wrong := range [][2]string{{"P0", Flotilla}, {"P1", "nobody"}} {
		if _, err := ConfigOf(wrong[0], wrong[1]); !errors.Is(err, errRows) {
			t.Errorf("%v: %v", wrong, err)
		}
	}
}
