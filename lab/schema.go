package lab

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// The raw types are the part of containerlab's schema that the lab honours.

type rawFile struct {
	Name     string    `yaml:"name"`
	Topology yaml.Node `yaml:"topology"`
}

type rawSections struct {
	Defaults yaml.Node            `yaml:"defaults"`
	Kinds    map[string]yaml.Node `yaml:"kinds"`
	Groups   map[string]yaml.Node `yaml:"groups"`
	Nodes    map[string]yaml.Node `yaml:"nodes"`
	Links    []yaml.Node          `yaml:"links"`
}

type rawNode struct {
	Kind        string            `yaml:"kind"`
	Group       string            `yaml:"group"`
	Image       string            `yaml:"image"`
	Cmd         string            `yaml:"cmd"`
	Exec        []string          `yaml:"exec"`
	Binds       []string          `yaml:"binds"`
	Env         map[string]string `yaml:"env"`
	Labels      map[string]string `yaml:"labels"`
	Sysctls     map[string]string `yaml:"sysctls"`
	NetworkMode string            `yaml:"network-mode"`
}

type rawLink struct {
	Endpoints []string `yaml:"endpoints"`
	MTU       *int     `yaml:"mtu"`
}

type rawTopology struct {
	defaults             rawNode
	kinds, groups, nodes map[string]rawNode
	links                []rawLink
}

func (f rawFile) decodeTopology() (*rawTopology, error) {
	if f.Topology.Kind == 0 {
		return nil, fmt.Errorf("topology is missing")
	}
	var sections rawSections
	if err := decodeStrict(&f.Topology, "topology", &sections); err != nil {
		return nil, err
	}
	raw := &rawTopology{}
	if sections.Defaults.Kind != 0 {
		if err := decodeStrict(&sections.Defaults, "defaults", &raw.defaults); err != nil {
			return nil, err
		}
	}
	var err error
	if raw.kinds, err = decodeNodes("kind", sections.Kinds); err != nil {
		return nil, err
	}
	if raw.groups, err = decodeNodes("group", sections.Groups); err != nil {
		return nil, err
	}
	if raw.nodes, err = decodeNodes("node", sections.Nodes); err != nil {
		return nil, err
	}
	for i := range sections.Links {
		var link rawLink
		if err := decodeStrict(&sections.Links[i], fmt.Sprintf("link %d", i+1), &link); err != nil {
			return nil, err
		}
		raw.links = append(raw.links, link)
	}
	return raw, nil
}

func decodeNodes(what string, in map[string]yaml.Node) (map[string]rawNode, error) {
	out := make(map[string]rawNode, len(in))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if err := checkName(what+" name", name); err != nil {
			return nil, err
		}
		node := in[name]
		var raw rawNode
		// "n1:" with nothing below it is legal and means: everything comes from the defaults.
		if node.Tag != "!!null" {
			if err := decodeStrict(&node, what+" "+name, &raw); err != nil {
				return nil, err
			}
		}
		out[name] = raw
	}
	return out, nil
}

// decodeStrict decodes a mapping into a struct and refuses keys that the struct does not have.
// (yaml.Decoder.KnownFields cannot name the node a key stands in.)
func decodeStrict(node *yaml.Node, where string, into any) error {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("%s (line %d) must be a mapping of keys to values", where, node.Line)
	}
	known := yamlKeys(into)
	for i := 0; i < len(node.Content); i += 2 {
		key := node.Content[i]
		if key.Tag != "!!merge" && !slices.Contains(known, key.Value) {
			return fmt.Errorf("%s: the lab does not know the key %q (line %d); it knows %s", where, key.Value, key.Line, strings.Join(known, ", "))
		}
	}
	if err := node.Decode(into); err != nil {
		text := strings.TrimPrefix(err.Error(), "yaml: ")
		text = strings.TrimPrefix(text, "unmarshal errors:\n")
		return fmt.Errorf("%s: %s", where, strings.Join(strings.Fields(text), " "))
	}
	return nil
}

func yamlKeys(of any) []string {
	t := reflect.TypeOf(of).Elem()
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i] = t.Field(i).Tag.Get("yaml")
	}
	return keys
}
