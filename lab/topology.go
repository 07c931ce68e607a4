// Package lab runs containerlab topologies in network namespaces with the programs of this machine.
package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Topology is a parsed and checked containerlab topology file with inheritance already applied.
type Topology struct {
	Name  string
	Dir   string     // relative bind sources start here
	Nodes []NodeSpec // sorted by name
	Links []LinkSpec // in the order of the file
}

// NodeSpec says what one node is, after defaults, kind and group have been merged in.
type NodeSpec struct {
	Name    string
	Kind    string // "linux" or "bridge"
	Image   string
	Group   string
	Role    Role
	Cmd     []string   // replaces what the role would start; nil when not given
	Exec    [][]string // run one after the other once the node is up
	Binds   []Bind     // sorted by destination
	Env     map[string]string
	Labels  map[string]string
	Sysctls map[string]string
}

// Bind makes a file or directory of this machine visible inside a node.
type Bind struct {
	Source      string // absolute
	Destination string // absolute, in the node
	ReadOnly    bool
}

// LinkSpec is a cable between two interfaces.
type LinkSpec struct {
	A, B Endpoint
	MTU  int // bytes; 1500 when the file does not say
}

// Endpoint is one end of a cable.
type Endpoint struct{ Node, Interface string }

// String is the form of the file: "n1:eth1".
func (e Endpoint) String() string { return e.Node + ":" + e.Interface }

const defaultMTU = 1500

// Load reads the topology file at path.
func Load(path string) (*Topology, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read topology: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("read topology %s: %w", path, err)
	}
	topology, err := Parse(data, dir)
	if err != nil {
		return nil, fmt.Errorf("topology %s: %w", path, err)
	}
	return topology, nil
}

// Parse reads one topology document; relative bind sources are taken from dir.
// Anything the lab would not honour is an error, so that a file never runs as something else than it says.
func Parse(data []byte, dir string) (*Topology, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, fmt.Errorf("not valid YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(document.Content) == 0 {
		return nil, fmt.Errorf("the file is empty; it needs name and topology")
	}
	var file rawFile
	if err := decodeStrict(document.Content[0], "file", &file); err != nil {
		return nil, err
	}
	if err := checkName("lab name", file.Name); err != nil {
		return nil, err
	}
	raw, err := file.decodeTopology()
	if err != nil {
		return nil, err
	}
	topology := &Topology{Name: file.Name, Dir: dir}
	for name := range raw.nodes {
		node, err := raw.resolve(name, dir)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", name, err)
		}
		topology.Nodes = append(topology.Nodes, node)
	}
	if len(topology.Nodes) == 0 {
		return nil, fmt.Errorf("topology.nodes is empty; a lab needs at least one node")
	}
	slices.SortFunc(topology.Nodes, func(a, b NodeSpec) int { return strings.Compare(a.Name, b.Name) })
	if topology.Links, err = raw.resolveLinks(); err != nil {
		return nil, err
	}
	return topology, nil
}

// Node finds a node by name.
func (t *Topology) Node(name string) (NodeSpec, bool) {
	i := slices.IndexFunc(t.Nodes, func(n NodeSpec) bool { return n.Name == name })
	if i < 0 {
		return NodeSpec{}, false
	}
	return t.Nodes[i], true
}

// Containerlab's schema allows these characters in names; the length keeps host names and paths legal.
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)

func checkName(what, name string) error {
	if name == "" {
		return fmt.Errorf("%s is missing", what)
	}
	if !validName.MatchString(name) {
		return fmt.Errorf("%s %q is not usable: at most 63 letters, digits, dots, dashes and underscores, beginning with a letter or digit", what, name)
	}
	return nil
}
