package lab

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// cable is a drawn link.
type cable struct {
	ends [2]*cableEnd
}

// cableEnd is where a cable meets a box.
type cableEnd struct {
	box, other *box
	label      string
	down       bool // leaves from the lower side
	x, y       float64
}

// route gives every cable end a place at the side of its box that faces the other end; ends of one side stand side by
// side, in the order of where they lead, so that cables of one box do not cross each other. Inside a row cables run
// below it.
func route(t *Topology, boxes map[string]*box) []cable {
	cables := make([]cable, len(t.Links))
	type side struct {
		box  *box
		down bool
	}
	sides := map[side][]*cableEnd{}
	for i, link := range t.Links {
		a, b := boxes[link.A.Node], boxes[link.B.Node]
		cables[i].ends = [2]*cableEnd{
			{box: a, other: b, label: link.A.Interface, down: a.row <= b.row},
			{box: b, other: a, label: link.B.Interface, down: b.row <= a.row},
		}
		for _, end := range cables[i].ends {
			key := side{end.box, end.down}
			sides[key] = append(sides[key], end)
		}
	}
	for key, ends := range sides {
		slices.SortStableFunc(ends, func(a, b *cableEnd) int { return cmp.Compare(a.other.x, b.other.x) })
		b := key.box
		total := 0.0
		for _, end := range ends {
			total += labelWidth(end.label)
		}
		// Equal gaps between the labels, and half of one at the edges.
		gap := (b.w - total) / float64(len(ends))
		x := b.x - b.w/2
		for _, end := range ends {
			end.x = x + (gap+labelWidth(end.label))/2
			x += gap + labelWidth(end.label)
			end.y = b.y - b.h/2
			if key.down {
				end.y = b.y + b.h/2
			}
		}
		if b.node.Role == RoleSwitch {
			straighten(b, ends)
		}
	}
	return cables
}

// straighten moves the ports of a switch right above or below what they lead to, as far as the switch reaches and the
// ports keep apart.
func straighten(b *box, ends []*cableEnd) {
	left, right := b.x-b.w/2+b.h/2+portPitch/4, b.x+b.w/2-b.h/2-portPitch/4
	for _, end := range ends {
		end.x = math.Min(math.Max(end.other.x, left), right)
	}
	for range len(ends) {
		for i := 1; i < len(ends); i++ {
			if lack := portPitch - (ends[i].x - ends[i-1].x); lack > 0 {
				ends[i-1].x = math.Max(left, ends[i-1].x-lack/2)
				ends[i].x = math.Min(right, ends[i].x+lack/2)
			}
		}
	}
}

func (c cable) path() string {
	a, b := c.ends[0], c.ends[1]
	if a.box.row == b.box.row {
		// Below the row, deeper the farther apart the two are.
		depth := math.Min(rowGap*0.8, 34+math.Abs(a.x-b.x)*0.06)
		return fmt.Sprintf("M%s %s C%s %s %s %s %s %s", num(a.x), num(a.y), num(a.x), num(a.y+depth), num(b.x), num(b.y+depth), num(b.x), num(b.y))
	}
	if math.Abs(a.x-b.x) < 1 {
		return fmt.Sprintf("M%s %s L%s %s", num(a.x), num(a.y), num(b.x), num(b.y))
	}
	middle := (a.y + b.y) / 2
	return fmt.Sprintf("M%s %s C%s %s %s %s %s %s", num(a.x), num(a.y), num(a.x), num(middle), num(b.x), num(middle), num(b.x), num(b.y))
}

// writeLabel puts the interface name on the cable near its end, on a white ground so that the line does not cross it.
func (e *cableEnd) writeLabel(out *strings.Builder) {
	y := e.y - endLabelGap
	if e.down {
		y = e.y + endLabelGap
	}
	width := labelWidth(e.label)
	fmt.Fprintf(out, `<rect x="%s" y="%s" width="%s" height="15" rx="3" fill="#ffffff" fill-opacity="0.92"/>`+"\n", num(e.x-width/2), num(y-7.5), num(width))
	fmt.Fprintf(out, `<text x="%s" y="%s" font-size="11" text-anchor="middle" fill="#46525e">%s</text>`+"\n", num(e.x), num(y+4), escape(e.label))
}
