package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flotilla-raft/flotilla/simulation"
)

// page is docs/proof.md. What the command writes stands between marks; all else is written by hand.
type page struct {
	text string
}

var errPage = errors.New("the page has not the marks of a table")

// marks returns the lines that a table stands between.
func marks(name string) (begin, end string) {
	return "<!-- " + name + ": written by the command; edit outside -->\n", "<!-- " + name + ": end -->"
}

// section returns what stands between the marks of a table.
func (p *page) section(name string) (before, section, after string, err error) {
	begin, end := marks(name)
	before, rest, found := strings.Cut(p.text, begin)
	section, after, foundEnd := strings.Cut(rest, end)
	if !found || !foundEnd {
		return "", "", "", fmt.Errorf("%w: %s", errPage, name)
	}
	return before, section, after, nil
}

func (p *page) replace(name, section string) error {
	before, _, after, err := p.section(name)
	if err != nil {
		return err
	}
	begin, end := marks(name)
	p.text = before + begin + section + end + after
	return nil
}

// writePage writes the page's tables. What the results and reports at hand do not have stays as the page has it.
func writePage(s *settings) error {
	content, err := os.ReadFile(s.page)
	if err != nil {
		return err
	}
	p := &page{text: string(content)}
	all, err := readMutants(filepath.Join(s.root, "simulation", "mutants"))
	if err != nil {
		return err
	}
	results, err := readResults(s.results)
	if err != nil {
		return err
	}
	reports, err := readReports(s.simulated)
	if err != nil {
		return err
	}
	seeds, err := os.ReadFile(filepath.Join(s.root, "simulation", "regressions.txt"))
	if err != nil {
		return err
	}
	err = errors.Join(p.writeMutants(all, results), p.writeRules(all), p.writeSeeds(string(seeds)))
	if len(reports) > 0 {
		err = errors.Join(err, p.replace("runs", runsTable(reports)), p.replace("events", eventsTable(reports)))
	}
	if err != nil {
		return err
	}
	return os.WriteFile(s.page, []byte(p.text), 0o644)
}

func readReports(path string) ([]simulation.Report, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return simulation.ReadReports(file)
}

// notYet stands in the place of results that nobody has.
const notYet = " — | — | — |"

// writeMutants writes a row for each mutant. The last three cells of one that is not among the results are kept.
func (p *page) writeMutants(all []mutant, results map[string]finding) error {
	_, before, _, err := p.section("mutants")
	if err != nil {
		return err
	}
	known := map[string]string{}
	for row := range strings.Lines(before) {
		cells := strings.SplitN(strings.TrimSpace(row), "|", 5)
		if name := strings.Trim(cells[min(1, len(cells)-1)], " `"); len(cells) == 5 {
			known[name] = cells[4]
		}
	}
	var t strings.Builder
	var took []float64
	t.WriteString("| mutant | what it takes out | rules | found by | profile, seed, runs | s of CPU |\n|---|---|---|---|---|---:|\n")
	for i := range all {
		m := &all[i]
		cells := known[m.name]
		if f, ok := results[m.name]; ok {
			cells = fmt.Sprintf(" %s | %s %d, %d | %.1f |", f.property, f.profile, f.seed, f.runs, f.spent.Seconds())
		}
		if cells == "" {
			cells = notYet
		}
		last := strings.Split(strings.Trim(cells, "| "), "|")
		if seconds, err := strconv.ParseFloat(strings.TrimSpace(last[len(last)-1]), 64); err == nil {
			took = append(took, seconds)
		}
		fmt.Fprintf(&t, "| `%s` | %s%s | %s |%s\n", m.name, m.why, m.where(), strings.Join(m.rules, ", "), strings.TrimRight(cells, "\n"))
	}
	slices.Sort(took)
	sum := 0.0
	for _, seconds := range took {
		sum += seconds
	}
	if len(took) > 0 {
		fmt.Fprintf(&t, "\n%d mutants, %d of them with a measured time: median %.1f s of CPU, longest %.1f s, %.0f minutes together.\n", len(all), len(took),
			took[len(took)/2], took[len(took)-1], sum/60)
	}
	return p.replace("mutants", t.String())
}

// where says on what a mutant is looked for, if not on the model.
func (m *mutant) where() string {
	if m.logDB == "model" {
		return ""
	}
	return " (on " + m.logDB + ")"
}

// writeRules writes which mutants break which rule.
func (p *page) writeRules(all []mutant) error {
	byRule := map[string][]string{}
	for i := range all {
		for _, rule := range all[i].rules {
			byRule[rule] = append(byRule[rule], "`"+all[i].name+"`")
		}
	}
	var rules []string
	for rule := range byRule {
		rules = append(rules, rule)
	}
	slices.SortFunc(rules, func(a, b string) int { return ruleOrder(a) - ruleOrder(b) })
	var t strings.Builder
	t.WriteString("| rule | mutants |\n|---|---|\n")
	for _, rule := range rules {
		fmt.Fprintf(&t, "| %s | %s |\n", rule, strings.Join(byRule[rule], ", "))
	}
	return p.replace("rules", t.String())
}

// ruleOrder puts the rules by number, and tests behind them.
func ruleOrder(rule string) int {
	number, _ := strconv.Atoi(strings.TrimLeft(rule, "RT-"))
	if strings.HasPrefix(rule, "T") {
		number += 1000
	}
	return number
}

// writeSeeds writes the seeds that have shown an error of the product; mistakes of the simulator's own are counted only.
func (p *page) writeSeeds(regressions string) error {
	var t strings.Builder
	own := 0
	t.WriteString("| profile, seed | log store | what was wrong |\n|---|---|---|\n")
	for line := range strings.Lines(regressions) {
		fields := strings.SplitN(strings.TrimSpace(line), " ", 5)
		switch {
		case len(fields) < 5 || strings.HasPrefix(line, "#"):
		case strings.Contains(fields[4], "own mistake"):
			own++
		default:
			fmt.Fprintf(&t, "| %s %s | %s | %s |\n", fields[0], fields[1], fields[3], fields[4])
		}
	}
	fmt.Fprintf(&t, "\n%d more seeds of `simulation/regressions.txt` have shown mistakes of the simulator's own.\n", own)
	return p.replace("seeds", t.String())
}

func runsTable(reports []simulation.Report) string {
	var t strings.Builder
	t.WriteString("| profile | log store | seeds | virtual hours | times real time | operations | violations |\n|---|---|---:|---:|---:|---:|---:|\n")
	var all simulation.Report
	for i := range reports {
		r := &reports[i]
		fmt.Fprintf(&t, "| %s | %s | %d | %.1f | %.0f | %d | %d |\n", r.Profile, r.LogDB, r.Seeds, r.Virtual.Hours(),
			r.Virtual.Seconds()/max(r.Real.Seconds(), 1e-9), r.Counters["operations"], len(r.Violations))
		all.Seeds, all.Virtual, all.Real = all.Seeds+r.Seeds, all.Virtual+r.Virtual, all.Real+r.Real
	}
	fmt.Fprintf(&t, "\nTogether %d seeds, %.0f hours of virtual time in %v.\n", all.Seeds, all.Virtual.Hours(), all.Real.Round(time.Minute))
	return t.String()
}

// eventsTable says how often what occurred, in all and in an hour of virtual time, and in which profile most often.
func eventsTable(reports []simulation.Report) string {
	var t strings.Builder
	t.WriteString("| event | times | in an hour of virtual time | most often in |\n|---|---:|---:|---|\n")
	var virtual time.Duration
	for i := range reports {
		virtual += reports[i].Virtual
	}
	for _, name := range simulation.Events() {
		times, most, where := uint64(0), 0.0, "—"
		for i := range reports {
			r := &reports[i]
			times += r.Counters[name]
			if often := float64(r.Counters[name]) / max(r.Virtual.Hours(), 1e-9); often > most {
				most, where = often, r.Profile
			}
		}
		fmt.Fprintf(&t, "| %s | %d | %.4g | %s |\n", name, times, float64(times)/max(virtual.Hours(), 1e-9), where)
	}
	return t.String()
}
