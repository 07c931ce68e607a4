package lab

import (
	"cmp"
	"slices"
	"strconv"
)

// layers orders the nodes for drawing, top row first. The row is containerlab's label graph-level where a node has it,
// else the distance from the clients (without clients, from the first node). In a row, nodes stand near what they are
// linked to.
func layers(t *Topology) [][]NodeSpec {
	neighbours := map[string][]string{}
	for _, link := range t.Links {
		neighbours[link.A.Node] = append(neighbours[link.A.Node], link.B.Node)
		neighbours[link.B.Node] = append(neighbours[link.B.Node], link.A.Node)
	}
	level := levels(t, neighbours)
	rows := map[int][]NodeSpec{}
	for _, node := range t.Nodes {
		rows[level[node.Name]] = append(rows[level[node.Name]], node)
	}
	keys := make([]int, 0, len(rows))
	for key := range rows {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	out := make([][]NodeSpec, len(keys))
	for i, key := range keys {
		out[i] = rows[key]
	}
	uncross(out, neighbours)
	return out
}

func levels(t *Topology, neighbours map[string][]string) map[string]int {
	level := map[string]int{}
	var queue []string
	for _, node := range t.Nodes {
		if n, err := strconv.Atoi(node.Labels["graph-level"]); err == nil {
			level[node.Name] = n
			queue = append(queue, node.Name)
		}
	}
	if len(queue) == 0 {
		for _, node := range t.Nodes {
			if node.Role == RoleClient {
				level[node.Name] = 1
				queue = append(queue, node.Name)
			}
		}
	}
	slices.SortStableFunc(queue, func(a, b string) int { return level[a] - level[b] })
	// Every part of the topology that nothing above reaches starts at its first node.
	for _, node := range t.Nodes {
		for len(queue) > 0 {
			name := queue[0]
			queue = queue[1:]
			for _, next := range neighbours[name] {
				if _, seen := level[next]; !seen {
					level[next] = level[name] + 1
					queue = append(queue, next)
				}
			}
		}
		if _, seen := level[node.Name]; !seen {
			level[node.Name] = 1
			queue = append(queue, node.Name)
		}
	}
	return level
}

// uncross sorts each row by the mean position of its neighbours in other rows, a few times down and up; equals keep
// their order, so the result depends on the topology alone.
func uncross(rows [][]NodeSpec, neighbours map[string][]string) {
	position := map[string]float64{}
	place := func(row []NodeSpec) {
		for i, node := range row {
			position[node.Name] = (float64(i) + 0.5) / float64(len(row))
		}
	}
	for _, row := range rows {
		place(row)
	}
	sortRow := func(row []NodeSpec) {
		inRow := map[string]bool{}
		for _, node := range row {
			inRow[node.Name] = true
		}
		mean := map[string]float64{}
		for _, node := range row {
			sum, count := 0.0, 0.0
			for _, name := range neighbours[node.Name] {
				if !inRow[name] {
					sum, count = sum+position[name], count+1
				}
			}
			mean[node.Name] = position[node.Name]
			if count > 0 {
				mean[node.Name] = sum / count
			}
		}
		slices.SortStableFunc(row, func(a, b NodeSpec) int { return cmp.Compare(mean[a.Name], mean[b.Name]) })
		place(row)
	}
	for range 4 {
		for _, row := range rows {
			sortRow(row)
		}
		for _, row := range slices.Backward(rows) {
			sortRow(row)
		}
	}
}
