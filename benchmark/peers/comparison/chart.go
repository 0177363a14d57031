package comparison

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// chart is a diagram with logarithmic axes, drawn as SVG.
type chart struct {
	title, x, y string
	// ticks are the positions on the x axis that get a label; names replace their numbers.
	ticks []float64
	names []string
	lines []line
}

// line joins the points of one subject.
type line struct {
	name   string
	points []point
}

type point struct{ x, y float64 }

// Size of a chart and of the margins round its field, in pixels.
const (
	chartWidth, chartHeight              = 720, 380
	marginLeft, marginRight              = 70, 190
	marginTop, marginBottom              = 20, 50
	legendStep, legendGap                = 20, 14
	fieldWidth                           = chartWidth - marginLeft - marginRight
	fieldHeight                          = chartHeight - marginTop - marginBottom
	dotRadius, tickLength, labelDistance = 3.5, 5, 18
)

// colourOf tells subjects apart, the same in every chart, for eyes that do not tell red from green too (Okabe and Ito).
func colourOf(subject string) string {
	i := max(0, slices.IndexFunc(Subjects(), func(s Subject) bool { return s.Name == subject }))
	colours := []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000", "#f0e442"}
	return colours[i%len(colours)]
}

// svg draws the chart; it is empty if there is nothing to draw.
func (c *chart) svg() string {
	var b strings.Builder
	low, high := c.extent(func(p point) float64 { return p.y })
	left, right := c.extent(func(p point) float64 { return p.x })
	if low > high {
		return ""
	}
	low, high = math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high)))
	if low == high {
		high *= 10
	}
	if left == right {
		right = left * 10
	}
	across := func(x float64) float64 {
		return marginLeft + fieldWidth*math.Log(x/left)/math.Log(right/left)
	}
	down := func(y float64) float64 {
		return marginTop + fieldHeight*(1-math.Log(y/low)/math.Log(high/low))
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s">`+"\n", chartWidth, chartHeight, html.EscapeString(c.title))
	for decade := low; decade <= high*1.001; decade *= 10 {
		y := down(decade)
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" class="grid"/>`, marginLeft, y, marginLeft+fieldWidth, y)
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" class="right">%s</text>`+"\n", marginLeft-2*tickLength, y+4, short(decade))
	}
	for i, tick := range c.ticks {
		if tick < left || tick > right {
			continue
		}
		name := benchmark.FormatFigure(tick)
		if i < len(c.names) {
			name = c.names[i]
		}
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" class="axis"/>`, across(tick), marginTop+fieldHeight, across(tick), marginTop+fieldHeight+tickLength)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" class="middle">%s</text>`+"\n", across(tick), marginTop+fieldHeight+labelDistance, html.EscapeString(name))
	}
	fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" class="field"/>`+"\n", marginLeft, marginTop, fieldWidth, fieldHeight)
	fmt.Fprintf(&b, `<text x="%d" y="%d" class="middle">%s</text>`+"\n", marginLeft+fieldWidth/2, chartHeight-8, html.EscapeString(c.x))
	fmt.Fprintf(&b, `<text x="14" y="%d" class="middle" transform="rotate(-90 14 %d)">%s</text>`+"\n", marginTop+fieldHeight/2, marginTop+fieldHeight/2, html.EscapeString(c.y))
	for i, l := range c.lines {
		l.draw(&b, colourOf(l.name), across, down)
		y := marginTop + legendGap + i*legendStep
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="12" height="12" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n", marginLeft+fieldWidth+16, y-10, colourOf(l.name),
			marginLeft+fieldWidth+34, y, html.EscapeString(l.name))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (l line) draw(b *strings.Builder, colour string, across, down func(float64) float64) {
	var path []string
	for _, p := range l.points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", across(p.x), down(p.y)))
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`, strings.Join(path, " "), colour)
	for _, p := range l.points {
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="%.1f" fill="%s"><title>%s: %s</title></circle>`, across(p.x), down(p.y), dotRadius, colour,
			html.EscapeString(l.name), benchmark.FormatFigure(p.y))
	}
	b.WriteByte('\n')
}

// extent is the range of a coordinate over all points; the least is above the greatest if there are none.
func (c *chart) extent(of func(point) float64) (least, greatest float64) {
	least, greatest = math.Inf(1), 0
	for _, l := range c.lines {
		for _, p := range l.points {
			least, greatest = min(least, of(p)), max(greatest, of(p))
		}
	}
	return least, greatest
}

// short writes a round number for an axis.
func short(value float64) string {
	switch {
	case value >= 1e6:
		return fmt.Sprintf("%g M", value/1e6)
	case value >= 1e3:
		return fmt.Sprintf("%g k", value/1e3)
	default:
		return fmt.Sprintf("%g", value)
	}
}
