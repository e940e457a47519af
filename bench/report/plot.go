package report

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Point is a place in a plot.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// Bars compares values: one bar for each, in groups.
type Bars struct {
	Title, Unit string
	Groups      []Group
}

// Group is bars that belong together.
type Group struct {
	Name string
	Bars []Bar
}

// Bar is a value of a series, with the range it was seen in. Bars of one series have one colour.
type Bar struct {
	Series           string
	Value, Low, High float64
}

// Lines is curves over two axes.
type Lines struct {
	Title, X, Y string
	LogX, LogY  bool
	// Quantiles labels the X axis, which holds 1/(1-q), with percentiles.
	Quantiles bool
	Series    []Series
}

// Series is one curve.
type Series struct {
	Name   string
	Points []Point
}

// Number is a value with three digits at least.
func Number(v float64) string {
	a := math.Abs(v)
	switch {
	case a == 0:
		return "0"
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

// colour is a series' colour: its place among the plot's series.
func colour(names *[]string, name string) string {
	i := slices.Index(*names, name)
	if i < 0 {
		i = len(*names)
		*names = append(*names, name)
	}
	return fmt.Sprintf("var(--s%d)", i%8)
}

func begin(b *strings.Builder, title string, width, height int) {
	fmt.Fprintf(b, "<figure><figcaption>%s</figcaption><svg width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n",
		html.EscapeString(title), width, height, width, height, html.EscapeString(title))
}

func (p *Bars) svg(b *strings.Builder) {
	const width, left, right, bar, gap, head = 560, 150, 70, 13, 8, 17
	most, height := 0.0, 6
	for _, g := range p.Groups {
		height += head + len(g.Bars)*(bar+2) + gap
		for _, v := range g.Bars {
			most = max(most, v.Value, v.High)
		}
	}
	if most == 0 {
		return
	}
	title := p.Title
	if p.Unit != "" {
		title += ", " + p.Unit
	}
	begin(b, title, width, height)
	var names []string
	scale := (width - left - right) / most
	y := 4
	for _, g := range p.Groups {
		fmt.Fprintf(b, "<text class=\"v\" x=\"0\" y=\"%d\">%s</text>\n", y+11, html.EscapeString(g.Name))
		y += head
		for _, v := range g.Bars {
			c := colour(&names, v.Series)
			fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text><rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>",
				left-6, y+10, html.EscapeString(v.Series), left, y, max(1, v.Value*scale), bar, c)
			if v.High > v.Low {
				mid := float64(y) + bar/2.0
				fmt.Fprintf(b, "<path d=\"M%.1f %.1fH%.1f\" stroke=\"var(--ink)\"/>", left+v.Low*scale, mid, left+v.High*scale)
			}
			fmt.Fprintf(b, "<text class=\"v\" x=\"%.1f\" y=\"%d\">%s</text>\n", left+max(v.Value, v.High)*scale+5, y+10, Number(v.Value))
			y += bar + 2
		}
		y += gap
	}
	b.WriteString("</svg></figure>\n")
}

// axis maps values to pixels.
type axis struct {
	low, high float64
	from, to  float64
	log       bool
}

func newAxis(values []float64, from, to float64, log bool) axis {
	a := axis{low: slices.Min(values), high: slices.Max(values), from: from, to: to, log: log}
	if !log {
		a.low = min(0, a.low)
	}
	if a.high <= a.low {
		a.high = a.low + 1
	}
	return a
}

func (a axis) at(v float64) float64 {
	if a.log {
		return a.from + (a.to-a.from)*(math.Log(v)-math.Log(a.low))/(math.Log(a.high)-math.Log(a.low))
	}
	return a.from + (a.to-a.from)*(v-a.low)/(a.high-a.low)
}

// ticks is a handful of round values.
func (a axis) ticks() []float64 {
	var out []float64
	if a.log {
		for e := math.Floor(math.Log10(a.low)); e <= math.Ceil(math.Log10(a.high)); e++ {
			for _, m := range []float64{1, 2, 5} {
				v := m * math.Pow(10, e)
				if v >= a.low*0.999 && v <= a.high*1.001 && (m == 1 || a.high/a.low < 1000) {
					out = append(out, v)
				}
			}
		}
		return out
	}
	step := math.Pow(10, math.Floor(math.Log10((a.high-a.low)/4)))
	for _, m := range []float64{5, 2} {
		if (a.high-a.low)/(step*m) >= 4 {
			step *= m
			break
		}
	}
	for v := math.Ceil(a.low/step) * step; v <= a.high; v += step {
		out = append(out, v)
	}
	return out
}

func (p *Lines) svg(b *strings.Builder) {
	const width, height, left, bottom, top, right = 560, 300, 56, 40, 8, 30
	var xs, ys []float64
	for _, s := range p.Series {
		for _, pt := range s.Points {
			if (!p.LogX || pt.X > 0) && (!p.LogY || pt.Y > 0) {
				xs, ys = append(xs, pt.X), append(ys, pt.Y)
			}
		}
	}
	if len(xs) == 0 {
		return
	}
	legend := 18 * ((len(p.Series) + 2) / 3)
	begin(b, p.Title, width, height+legend)
	x := newAxis(xs, left, width-right, p.LogX)
	y := newAxis(ys, height-bottom, top, p.LogY)
	for _, t := range y.ticks() {
		at := y.at(t)
		fmt.Fprintf(b, "<path d=\"M%d %.1fH%d\" stroke=\"var(--line)\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
			left, at, width-right, left-5, at+4, Number(t))
	}
	for _, t := range x.ticks() {
		label := Number(t)
		if p.Quantiles {
			if math.Abs(math.Log10(t)-math.Round(math.Log10(t))) > 1e-6 {
				continue
			}
			label = "p" + strconv.FormatFloat(100*(1-1/t), 'f', -1, 64)
		}
		fmt.Fprintf(b, "<path d=\"M%.1f %dV%d\" stroke=\"var(--line)\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
			x.at(t), top, height-bottom, x.at(t), height-bottom+15, label)
	}
	fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", (left+width-right)/2, height-8, html.EscapeString(p.X))
	fmt.Fprintf(b, "<text transform=\"translate(11 %d) rotate(-90)\" text-anchor=\"middle\">%s</text>\n", (height-bottom+top)/2, html.EscapeString(p.Y))
	var names []string
	for i, s := range p.Series {
		c := colour(&names, s.Name)
		var path strings.Builder
		for _, pt := range s.Points {
			if (p.LogX && pt.X <= 0) || (p.LogY && pt.Y <= 0) {
				continue
			}
			op := "L"
			if path.Len() == 0 {
				op = "M"
			}
			fmt.Fprintf(&path, "%s%.1f %.1f", op, x.at(pt.X), y.at(pt.Y))
		}
		fmt.Fprintf(b, "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.8\"/>", path.String(), c)
		lx, ly := left+(i%3)*165, height+11+18*(i/3)
		fmt.Fprintf(b, "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"4\" fill=\"%s\"/><text class=\"v\" x=\"%d\" y=\"%d\">%s</text>\n",
			lx, ly-5, c, lx+19, ly, html.EscapeString(s.Name))
	}
	b.WriteString("</svg></figure>\n")
}
