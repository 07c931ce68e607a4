package lab

import (
	"fmt"
	"strings"
)

// Mermaid draws the topology as a Mermaid flowchart, which Markdown pages show as a picture.
func Mermaid(t *Topology) string {
	var out strings.Builder
	out.WriteString("flowchart TB\n")
	ids, row := map[string]string{}, map[string]int{}
	for layer, nodes := range layers(t) {
		for column, node := range nodes {
			id := fmt.Sprintf("l%dc%d", layer, column)
			ids[node.Name], row[node.Name] = id, layer
			open, end := "[", "]"
			switch node.Role {
			case RoleSwitch:
				open, end = "([", "])"
			case RoleClient:
				open, end = "(", ")"
			}
			fmt.Fprintf(&out, "  %s%s\"%s<br/><small>%s</small>\"%s:::%s\n", id, open, node.Name, node.Role, end, node.Role)
		}
	}
	for _, link := range t.Links {
		// Mermaid ranks by direction: from the upper layer to the lower.
		a, b := link.A, link.B
		if row[a.Node] > row[b.Node] {
			a, b = b, a
		}
		fmt.Fprintf(&out, "  %s ---|\"%s – %s\"| %s\n", ids[a.Node], a.Interface, b.Interface, ids[b.Node])
	}
	for _, role := range roles {
		style := roleStyles[role]
		fmt.Fprintf(&out, "  classDef %s fill:%s,stroke:%s,color:#1c2733\n", role, style.fill, style.stroke)
	}
	return out.String()
}
