package comparison

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
)

// pageStyle is all that the page looks like.
const pageStyle = `body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:78rem;padding:0 1rem;color:#1a1a1a}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}
td,th{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
td:first-child,th:first-child{text-align:left}
.missed{color:#b00020;font-weight:600}.met{color:#00693e}
svg{max-width:46rem;width:100%;height:auto;font:12px system-ui,sans-serif}
.grid{stroke:#e3e3e3}.axis{stroke:#555}.field{fill:none;stroke:#555}.right{text-anchor:end}.middle{text-anchor:middle}
code{background:#f3f3f3;padding:.1rem .3rem}`

// WriteHTML writes the report as one page that needs no other file and no network.
func (r *Report) WriteHTML(out io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Flotilla compared</title>\n<style>%s</style></head><body>\n", pageStyle)
	b.WriteString("<h1>Flotilla beside other engines and the limit</h1>\n")
	for _, c := range r.charts() {
		if drawing := c.svg(); drawing != "" {
			fmt.Fprintf(&b, "<h2>%s</h2>\n%s", html.EscapeString(c.title), drawing)
		}
	}
	var text strings.Builder
	if err := r.WriteMarkdown(&text); err != nil {
		return err
	}
	markdownToHTML(&b, text.String())
	b.WriteString("</body></html>\n")
	_, err := out.Write(b.Bytes())
	return err
}

// markdownToHTML translates the few forms that WriteMarkdown uses: headings of the third level, tables, paragraphs, code.
func markdownToHTML(b *bytes.Buffer, text string) {
	table, header := false, false
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		isRow := strings.HasPrefix(l, "|")
		if table && !isRow {
			b.WriteString("</table>\n")
			table = false
		}
		switch {
		case strings.HasPrefix(l, "|---"):
		case isRow:
			if header = !table; header {
				b.WriteString("<table>\n")
				table = true
			}
			tableRow(b, l, header)
		case strings.HasPrefix(l, "### "):
			fmt.Fprintf(b, "<h2>%s</h2>\n", html.EscapeString(l[4:]))
		case l != "":
			fmt.Fprintf(b, "<p>%s</p>\n", inline(l))
		}
	}
	if table {
		b.WriteString("</table>\n")
	}
}

func tableRow(b *bytes.Buffer, l string, header bool) {
	cell := "td"
	if header {
		cell = "th"
	}
	b.WriteString("<tr>")
	for _, text := range strings.Split(strings.TrimSuffix(strings.TrimPrefix(l, "| "), " |"), " | ") {
		class := ""
		if text == Missed || text == DriverShort || strings.HasPrefix(text, rowNotMet) {
			class = ` class="missed"`
		} else if strings.HasPrefix(text, Met) || text == DriverOK {
			class = ` class="met"`
		}
		fmt.Fprintf(b, "<%s%s>%s</%s>", cell, class, html.EscapeString(text), cell)
	}
	b.WriteString("</tr>\n")
}

// inline escapes a paragraph and marks its `code`.
func inline(text string) string {
	parts := strings.Split(html.EscapeString(text), "`")
	for i := 1; i+1 < len(parts); i += 2 {
		parts[i] = "<code>" + parts[i] + "</code>"
	}
	return strings.Join(parts, "")
}

// charts draws what there is: rates by requests in flight and by shards, and the latencies of the first case.
func (r *Report) charts() []*chart {
	inFlight := &chart{title: "Throughput by requests in flight (48 shards, 16 bytes)", x: "in flight", y: "writes a second", ticks: []float64{1000, 3000, 10_000, 30_000, 90_000}}
	r.fill(inFlight, []string{"sweep/1,000", "sweep/3,000", "P1", "sweep/30,000", "P2"}, func(_ *CaseReport, s *SubjectReport) point {
		return point{float64(s.Median.InFlight), s.rate()}
	})
	shards := &chart{title: "Throughput by shards (16 bytes, 10,000 in flight; 2,000 on one shard)", x: "shards", y: "writes a second", ticks: []float64{1, 48, 1024, 10_000}}
	r.fill(shards, []string{"P3", "P1", "P4", "P5"}, func(_ *CaseReport, s *SubjectReport) point {
		return point{float64(s.Median.Shards), s.rate()}
	})
	latency := &chart{title: "Latency (P1: 48 shards, 16 bytes, 10,000 in flight)", x: "percentile", y: "milliseconds", ticks: []float64{1, 2, 4}, names: []string{"p50", "p99", "p99.9"}}
	if c := r.caseNamed("P1"); c != nil {
		for i := range c.Subjects {
			if m := c.Subjects[i].Median; m != nil {
				latency.lines = append(latency.lines, line{c.Subjects[i].Name, []point{{1, m.WriteLatency.P50}, {2, m.WriteLatency.P99}, {4, m.WriteLatency.P999}}})
			}
		}
	}
	return []*chart{inFlight, latency, shards}
}

// fill adds a line for each subject, with a point for each of the cases that it was measured in.
func (r *Report) fill(c *chart, cases []string, at func(*CaseReport, *SubjectReport) point) {
	for _, name := range cases {
		measured := r.caseNamed(name)
		if measured == nil {
			continue
		}
		for i := range measured.Subjects {
			s := &measured.Subjects[i]
			if s.Median == nil || s.rate() == 0 {
				continue
			}
			j := slices.IndexFunc(c.lines, func(l line) bool { return l.name == s.Name })
			if j < 0 {
				j = len(c.lines)
				c.lines = append(c.lines, line{name: s.Name})
			}
			c.lines[j].points = append(c.lines[j].points, at(measured, s))
		}
	}
}
