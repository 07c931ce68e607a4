package main

import (
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// table is text in columns. A cell may have several lines.
type table struct {
	titles []string
	rows   [][]string
}

// box writes the table with lines around its cells.
func (t table) box(w io.Writer) error {
	widths := t.widths()
	var b strings.Builder
	line := func() {
		for _, n := range widths {
			b.WriteString("+" + strings.Repeat("-", n+2))
		}
		b.WriteString("+\n")
	}
	line()
	for i, title := range t.titles {
		space := widths[i] - columns(title)
		b.WriteString("| " + strings.Repeat(" ", space/2) + title + strings.Repeat(" ", space-space/2) + " ")
	}
	b.WriteString("|\n")
	line()
	for _, row := range t.rows {
		eachLine(row, func(cells []string) {
			for i, cell := range cells {
				b.WriteString("| " + pad(cell, widths[i]) + " ")
			}
			b.WriteString("|\n")
		})
		line()
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// compact writes the table with nothing but space between its columns.
func (t table) compact(w io.Writer) error {
	widths := t.widths()
	var b strings.Builder
	write := func(cells []string) {
		var line strings.Builder
		for i, cell := range cells {
			if i > 0 {
				line.WriteString("  ")
			}
			line.WriteString(pad(cell, widths[i]))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	write(t.titles)
	for _, row := range t.rows {
		eachLine(row, write)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// widths is how many columns of a terminal each column of the table needs.
func (t table) widths() []int {
	widths := make([]int, len(t.titles))
	for _, row := range append([][]string{t.titles}, t.rows...) {
		for i, cell := range row {
			for line := range strings.SplitSeq(cell, "\n") {
				widths[i] = max(widths[i], columns(printable(line)))
			}
		}
	}
	return widths
}

// eachLine gives the lines of a row's cells side by side, made fit for a terminal.
func eachLine(row []string, write func(cells []string)) {
	var lines [][]string
	height := 1
	for _, cell := range row {
		l := strings.Split(cell, "\n")
		lines = append(lines, l)
		height = max(height, len(l))
	}
	for at := range height {
		cells := make([]string, len(row))
		for i, l := range lines {
			if at < len(l) {
				cells[i] = printable(l[at])
			}
		}
		write(cells)
	}
}

func pad(s string, to int) string { return s + strings.Repeat(" ", max(0, to-columns(s))) }

// columns is the number of terminal columns that a text takes: two for wide runes of East Asian scripts and emoji, none for marks that sit on
// the rune before (Unicode Standard Annex 11).
func columns(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case width.LookupRune(r).Kind() == width.EastAsianWide, width.LookupRune(r).Kind() == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

// printable replaces control characters: names and descriptions come from others and must not command the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, s)
}

// natural compares texts so that numbers in them count as numbers: web2 comes before web10.
func natural(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da > 0 && db > 0 {
			na, nb := strings.TrimLeft(a[:da], "0"), strings.TrimLeft(b[:db], "0")
			if len(na) != len(nb) {
				return len(na) - len(nb)
			}
			if c := strings.Compare(na, nb); c != 0 {
				return c
			}
			a, b = a[da:], b[db:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func digits(s string) int {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return i
		}
	}
	return len(s)
}
