package report

import (
	"fmt"
	"html"
	"strings"
)

// Page is a report: parts in order.
type Page struct {
	Title string
	Parts []Part
}

// Part is a piece of a page. What is empty of it is not shown.
type Part struct {
	Heading string
	Text    []string // paragraphs
	Table   *Table
	Bars    []*Bars  // HTML only
	Lines   []*Lines // HTML only
}

// Table is rows under a heading. Cells that begin with a digit are aligned to the right.
type Table struct {
	Head []string
	Rows [][]string
}

// Add appends a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Add appends a part.
func (p *Page) Add(parts ...Part) { p.Parts = append(p.Parts, parts...) }

// Markdown is the page's text and tables.
func (p *Page) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", p.Title)
	for _, part := range p.Parts {
		if part.Heading != "" {
			fmt.Fprintf(&b, "\n## %s\n", part.Heading)
		}
		for _, text := range part.Text {
			fmt.Fprintf(&b, "\n%s\n", text)
		}
		if t := part.Table; t != nil {
			b.WriteByte('\n')
			markdownRow(&b, t.Head)
			b.WriteString("|" + strings.Repeat("---|", len(t.Head)) + "\n")
			for _, row := range t.Rows {
				markdownRow(&b, row)
			}
		}
	}
	return b.String()
}

func markdownRow(b *strings.Builder, cells []string) {
	b.WriteByte('|')
	for _, c := range cells {
		b.WriteString(" " + strings.ReplaceAll(strings.ReplaceAll(c, "|", `\|`), "\n", " ") + " |")
	}
	b.WriteByte('\n')
}

// HTML is the whole page as one file.
func (p *Page) HTML() string {
	var b strings.Builder
	fmt.Fprintf(&b, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"+
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>%s</title>\n<style>%s</style></head>\n<body>\n<h1>%s</h1>\n",
		html.EscapeString(p.Title), style, html.EscapeString(p.Title))
	for _, part := range p.Parts {
		if part.Heading != "" {
			fmt.Fprintf(&b, "<h2>%s</h2>\n", html.EscapeString(part.Heading))
		}
		for _, text := range part.Text {
			fmt.Fprintf(&b, "<p>%s</p>\n", html.EscapeString(text))
		}
		if len(part.Bars)+len(part.Lines) > 0 {
			b.WriteString("<div class=\"plots\">\n")
			for _, bars := range part.Bars {
				bars.svg(&b)
			}
			for _, lines := range part.Lines {
				lines.svg(&b)
			}
			b.WriteString("</div>\n")
		}
		if part.Table != nil {
			part.Table.html(&b)
		}
	}
	b.WriteString("</body></html>\n")
	return b.String()
}

func (t *Table) html(b *strings.Builder) {
	b.WriteString("<div class=\"wide\"><table>\n<tr>")
	for _, h := range t.Head {
		fmt.Fprintf(b, "<th>%s</th>", html.EscapeString(h))
	}
	b.WriteString("</tr>\n")
	for _, row := range t.Rows {
		b.WriteString("<tr>")
		for _, c := range row {
			class := ""
			switch {
			case c == "met":
				class = ` class="good"`
			case strings.HasPrefix(c, "not met"), strings.HasPrefix(c, "failed"):
				class = ` class="bad"`
			case c != "" && c[0] >= '0' && c[0] <= '9':
				class = ` class="n"`
			}
			fmt.Fprintf(b, "<td%s>%s</td>", class, html.EscapeString(c))
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("</table></div>\n")
}

const style = `
:root{--ink:#1c2430;--soft:#5b6675;--line:#d9dee5;--ground:#fff;--s0:#0b6bcb;--s1:#d1611f;--s2:#8a4fd0;--s3:#2a8c4a;--s4:#c02f5a;--s5:#8a7a00;--s6:#2b8a92;--s7:#70757d}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ee;--soft:#98a3b3;--line:#343c48;--ground:#14181f;--s0:#5aa9f2;--s1:#f0935a;--s2:#b98cf0;--s3:#62c184;--s4:#ef6d93;--s5:#cdbb3a;--s6:#5cc0c8;--s7:#a0a6ae}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--ground);max-width:1180px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2.2rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:13px}th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td.good{color:var(--s3);font-weight:600}td.bad{color:var(--s4);font-weight:600}
.plots{display:flex;flex-wrap:wrap;gap:1.2rem}figure{margin:0}figcaption{font-size:13px;font-weight:600}svg text{font:11px system-ui,sans-serif;fill:var(--soft)}svg .v{fill:var(--ink)}
`
