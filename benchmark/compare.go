package benchmark

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// ErrNotComparable is returned, wrapped, if the machine changed too much between the engines for their ratio to mean anything.
var ErrNotComparable = errors.New("benchmark: the machine changed between the engines, so they cannot be compared")

// Comparison holds the first engine against the others.
type Comparison struct {
	// Refused says which yardsticks moved by more than 15 % and so why there are no ratios. It is empty if there are.
	Refused []string `json:"refused,omitempty"`
	// Ratios are, by the other engine and the figure's name, the first engine's figure divided by the other's. A figure that is 0
	// on the right is left out.
	Ratios map[string]map[string]float64 `json:"ratios,omitempty"`
}

// compare divides the first median by the others.
func compare(medians []Result) *Comparison {
	c := &Comparison{Ratios: make(map[string]map[string]float64)}
	first := &medians[0]
	for i := range medians[1:] {
		other := &medians[1+i]
		for _, move := range first.yardsticks().moved(other.yardsticks()) {
			c.Refused = append(c.Refused, fmt.Sprintf("%s against %s: %s", first.Engine, other.Engine, move))
		}
		ratios := make(map[string]float64)
		for _, m := range metrics() {
			if divisor := *m.field(other); divisor != 0 {
				ratios[m.name] = *m.field(first) / divisor
			}
		}
		c.Ratios[other.Engine] = ratios
	}
	if len(c.Refused) > 0 {
		c.Ratios = nil
	}
	return c
}

func (c *Comparison) err() error {
	if c == nil || len(c.Refused) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrNotComparable, strings.Join(c.Refused, "; "))
}

// printSummary writes a table with a column for each median and, unless refused, one for each ratio. Figures that are 0
// everywhere are left out, but for those that a reader looks for.
func printSummary(out io.Writer, medians []Result, comparison *Comparison) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	first := &medians[0]
	fmt.Fprintf(out, "\n%d hosts, %d shards, %d bytes, %d in flight, read ratio %g; medians\n",
		first.Hosts, first.Shards, first.Payload, first.InFlight, first.ReadRatio)
	row := []string{""}
	for i := range medians {
		row = append(row, medians[i].Engine)
	}
	ratios := comparison != nil && len(comparison.Refused) == 0
	if ratios {
		for i := range medians[1:] {
			row = append(row, "/ "+medians[1+i].Engine)
		}
	}
	fmt.Fprintln(table, strings.Join(row, "\t")+"\t")
	for _, m := range metrics() {
		row, interesting := []string{m.name}, m.name == "errors" || m.name == "leader_changes"
		for i := range medians {
			value := *m.field(&medians[i])
			row = append(row, figure(value))
			interesting = interesting || value != 0
		}
		for i := range medians[1:] {
			if !ratios {
				break
			}
			if ratio, there := comparison.Ratios[medians[1+i].Engine][m.name]; there {
				row = append(row, strconv.FormatFloat(ratio, 'f', 3, 64))
			} else {
				row = append(row, "-")
			}
		}
		if interesting {
			fmt.Fprintln(table, strings.Join(row, "\t")+"\t")
		}
	}
	_ = table.Flush() // the summary is for a reader; a closed output shows itself
}

// figure writes a number for a reader: whole and grouped by thousands if it is large, else with three digits that count.
func figure(value float64) string {
	if value == 0 {
		return "0"
	}
	if math.Abs(value) < 1000 {
		return strconv.FormatFloat(value, 'g', 3, 64)
	}
	digits := strconv.FormatFloat(math.Round(value), 'f', -1, 64)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
