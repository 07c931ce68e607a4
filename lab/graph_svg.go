package lab

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

type style struct{ fill, stroke string }

var roleStyles = map[Role]style{
	RoleFRR:        {"#ffe8c7", "#c77700"},
	RoleFabric:     {"#d6e9ff", "#1f6fbf"},
	RoleBIRD:       {"#fff3b8", "#a68a00"},
	RoleExaBGP:     {"#f0dcf7", "#8a3fa0"},
	RoleKeepalived: {"#ffdcd6", "#c0452b"},
	RoleClient:     {"#e2f5dc", "#3f8f2e"},
	RoleSwitch:     {"#e9ecef", "#6b7680"},
	RoleLinux:      {"#f0e6fa", "#7a4fae"},
}

// Lengths of the drawing in pixels; letter widths are those of a 14 and 11 pixel sans-serif face, rounded up.
const (
	boxHeight    = 46.0
	boxMinWidth  = 96.0
	nameLetter   = 8.6
	smallLetter  = 6.4
	columnGap    = 64.0
	rowGap       = 74.0
	margin       = 32.0
	titleHeight  = 34.0
	switchHeight = 30.0
	cornerRadius = 8.0
	endLabelGap  = 17.0 // from the box to the middle of the interface label
	portPitch    = 46.0 // least distance between two cables at one side of a box
)

type box struct {
	node       NodeSpec
	row        int
	x, y, w, h float64 // x, y: centre
}

// SVG draws the topology as rows of boxes with the interface names at the ends of the cables. Equal topologies give equal
// bytes.
func SVG(t *Topology) string {
	boxes, width, height := place(t)
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]s %[2]s" width="%[1]s" height="%[2]s" font-family="DejaVu Sans, Verdana, sans-serif">`+"\n", num(width), num(height))
	fmt.Fprintf(&out, "<title>%s</title>\n", escape(t.Name))
	fmt.Fprintf(&out, `<rect width="%s" height="%s" fill="#ffffff"/>`+"\n", num(width), num(height))
	fmt.Fprintf(&out, `<text x="%s" y="%s" font-size="16" font-weight="bold" fill="#1c2733">%s</text>`+"\n", num(margin), num(margin+4), escape(t.Name))
	cables := route(t, boxes)
	for _, cable := range cables {
		fmt.Fprintf(&out, `<path d="%s" fill="none" stroke="#8a949e" stroke-width="1.6"/>`+"\n", cable.path())
	}
	for _, node := range t.Nodes {
		writeBox(&out, boxes[node.Name])
	}
	for _, cable := range cables {
		for _, end := range cable.ends {
			end.writeLabel(&out)
		}
	}
	out.WriteString("</svg>\n")
	return out.String()
}

func writeBox(out *strings.Builder, b *box) {
	style := roleStyles[b.node.Role]
	radius := cornerRadius
	if b.node.Role == RoleSwitch {
		radius = b.h / 2
	}
	fmt.Fprintf(out, `<rect x="%s" y="%s" width="%s" height="%s" rx="%s" fill="%s" stroke="%s" stroke-width="1.6"/>`+"\n",
		num(b.x-b.w/2), num(b.y-b.h/2), num(b.w), num(b.h), num(radius), style.fill, style.stroke)
	if b.node.Role == RoleSwitch {
		fmt.Fprintf(out, `<text x="%s" y="%s" font-size="14" text-anchor="middle" fill="#1c2733">%s</text>`+"\n", num(b.x), num(b.y+5), escape(b.node.Name))
		return
	}
	fmt.Fprintf(out, `<text x="%s" y="%s" font-size="14" font-weight="bold" text-anchor="middle" fill="#1c2733">%s</text>`+"\n", num(b.x), num(b.y-3), escape(b.node.Name))
	fmt.Fprintf(out, `<text x="%s" y="%s" font-size="11" text-anchor="middle" fill="%s">%s</text>`+"\n", num(b.x), num(b.y+14), style.stroke, b.node.Role)
}

// place gives every node its box. A switch is as wide as what it joins, so that cables run straight down to it.
func place(t *Topology) (map[string]*box, float64, float64) {
	ports := map[string]float64{} // the width that the interface names of a node need side by side
	for _, link := range t.Links {
		for _, end := range []Endpoint{link.A, link.B} {
			ports[end.Node] += math.Max(portPitch*0.8, labelWidth(end.Interface)+6)
		}
	}
	boxes := map[string]*box{}
	rows := layers(t)
	widths := make([]float64, len(rows))
	widest := 0.0
	for i, row := range rows {
		for j, node := range row {
			b := &box{node: node, row: i, h: boxHeight}
			b.w = math.Max(boxMinWidth, float64(utf8.RuneCountInString(node.Name))*nameLetter+28)
			if node.Role == RoleSwitch {
				b.h = switchHeight
			}
			b.w = math.Max(b.w, ports[node.Name]+portPitch*0.8)
			boxes[node.Name] = b
			widths[i] += b.w
			if j > 0 {
				widths[i] += columnGap
			}
		}
		widest = math.Max(widest, widths[i])
	}
	title := float64(utf8.RuneCountInString(t.Name))*11 + 2*margin
	width := math.Max(widest+2*margin, title)
	y := margin + titleHeight
	for i, row := range rows {
		// Spread a row over the width of the picture, with equal gaps.
		gap := (width - 2*margin - widths[i] + columnGap*float64(len(row)-1)) / float64(len(row)+1)
		if len(row) > 1 && gap < columnGap {
			gap = (width - widths[i] + columnGap*float64(len(row)-1) - 2*margin) / float64(len(row)-1)
		}
		x := (width - (widths[i] - columnGap*float64(len(row)-1)) - gap*float64(len(row)-1)) / 2
		for _, node := range row {
			b := boxes[node.Name]
			if len(row) == 1 && node.Role == RoleSwitch {
				b.w = math.Max(b.w, width-2*margin)
			}
			if len(row) == 1 {
				x = (width - b.w) / 2
			}
			b.x, b.y = x+b.w/2, y+boxHeight/2
			x += b.w + gap
		}
		y += boxHeight + rowGap
	}
	return boxes, width, y - rowGap + margin
}

func labelWidth(label string) float64 {
	return float64(utf8.RuneCountInString(label))*smallLetter + 6
}

func num(f float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.1f", f), "0"), ".")
}

func escape(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text)) // a strings.Builder takes everything
	return out.String()
}
