package lab

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// resolve merges defaults, kind, group and node, weakest first, as containerlab does: single values are overridden,
// maps are merged, binds are merged by destination, exec lists are appended.
func (t *rawTopology) resolve(name, dir string) (NodeSpec, error) {
	own := t.nodes[name]
	kind := t.kindOf(own)
	group := cmp.Or(own.Group, t.kinds[kind].Group, t.defaults.Group)
	levels := []rawNode{t.defaults, t.kinds[kind], t.groups[group], own}

	node := NodeSpec{Name: name, Kind: kind, Group: group, Env: map[string]string{}, Labels: map[string]string{}, Sysctls: map[string]string{}}
	binds := map[string]Bind{}
	var cmd, mode string
	for _, level := range levels {
		node.Image = cmp.Or(level.Image, node.Image)
		cmd = cmp.Or(level.Cmd, cmd)
		mode = cmp.Or(level.NetworkMode, mode)
		maps.Copy(node.Env, level.Env)
		maps.Copy(node.Labels, level.Labels)
		maps.Copy(node.Sysctls, level.Sysctls)
		for _, text := range level.Exec {
			words, err := splitWords(expand(text, name))
			if err != nil || len(words) == 0 {
				return NodeSpec{}, fmt.Errorf("exec %q is not a command: %w", text, cmp.Or(err, errEmptyCommand))
			}
			node.Exec = append(node.Exec, words)
		}
		for _, text := range level.Binds {
			bind, err := parseBind(expand(text, name), dir)
			if err != nil {
				return NodeSpec{}, err
			}
			binds[bind.Destination] = bind
		}
	}
	for _, destination := range slices.Sorted(maps.Keys(binds)) {
		node.Binds = append(node.Binds, binds[destination])
	}
	for key, value := range node.Env {
		if key == "" || strings.ContainsAny(key, "=\x00") || strings.Contains(value, "\x00") {
			return NodeSpec{}, fmt.Errorf("env %q is not a usable variable name", key)
		}
		node.Env[key] = expand(value, name)
	}
	for key := range node.Sysctls {
		if !strings.HasPrefix(key, "net.") || strings.Contains(key, "..") {
			return NodeSpec{}, fmt.Errorf("sysctl %q cannot be set per node: only net.* belongs to a network namespace", key)
		}
	}
	var err error
	if cmd != "" {
		if node.Cmd, err = splitWords(expand(cmd, name)); err != nil || len(node.Cmd) == 0 {
			return NodeSpec{}, fmt.Errorf("cmd %q is not a command: %w", cmd, cmp.Or(err, errEmptyCommand))
		}
	}
	if mode != "" && mode != "none" {
		return NodeSpec{}, fmt.Errorf("network-mode %q is not supported: lab nodes have the links of the topology and nothing else; leave it out or say none", mode)
	}
	node.Role, err = roleOf(node)
	return node, err
}

func (t *rawTopology) kindOf(node rawNode) string {
	return cmp.Or(node.Kind, t.groups[cmp.Or(node.Group, t.defaults.Group)].Kind, t.defaults.Kind)
}

// expand replaces the one containerlab variable that is the same on every machine.
func expand(text, node string) string { return strings.ReplaceAll(text, "__clabNodeName__", node) }

func parseBind(text, dir string) (Bind, error) {
	fields := strings.Split(text, ":")
	if len(fields) < 2 || len(fields) > 3 || fields[0] == "" {
		return Bind{}, fmt.Errorf("bind %q must be SOURCE:DESTINATION or SOURCE:DESTINATION:ro", text)
	}
	bind := Bind{Source: fields[0], Destination: filepath.Clean(fields[1])}
	if !filepath.IsAbs(fields[1]) || bind.Destination == "/" {
		return Bind{}, fmt.Errorf("bind %q: the destination must be an absolute path below /", text)
	}
	if len(fields) == 3 {
		for _, option := range strings.Split(fields[2], ",") {
			switch option {
			case "ro":
				bind.ReadOnly = true
			case "rw", "z", "Z": // z and Z label for SELinux, which the lab does not touch
			default:
				return Bind{}, fmt.Errorf("bind %q: option %q is not known; it must be ro or rw", text, option)
			}
		}
	}
	if rest, ok := strings.CutPrefix(bind.Source, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return Bind{}, fmt.Errorf("bind %q: %w", text, err)
		}
		bind.Source = filepath.Join(home, rest)
	}
	if !filepath.IsAbs(bind.Source) {
		bind.Source = filepath.Join(dir, bind.Source)
	}
	return bind, nil
}

func (t *rawTopology) resolveLinks() ([]LinkSpec, error) {
	var links []LinkSpec
	used := map[Endpoint]int{}
	for i, raw := range t.links {
		where := fmt.Sprintf("link %d %v", i+1, raw.Endpoints)
		if len(raw.Endpoints) != 2 {
			return nil, fmt.Errorf("%s: endpoints must be a pair, as in [\"n1:eth1\", \"n2:eth1\"]", where)
		}
		link := LinkSpec{MTU: defaultMTU}
		for j, end := range []*Endpoint{&link.A, &link.B} {
			var err error
			if *end, err = t.parseEndpoint(raw.Endpoints[j]); err != nil {
				return nil, fmt.Errorf("%s: %w", where, err)
			}
			if first := used[*end]; first != 0 {
				return nil, fmt.Errorf("%s: interface %s already ends link %d", where, *end, first)
			}
			used[*end] = i + 1
		}
		if raw.MTU != nil {
			// 68 is the least that IPv4 allows (RFC 791), 65535 the most that veth takes.
			if link.MTU = *raw.MTU; link.MTU < 68 || link.MTU > 65535 {
				return nil, fmt.Errorf("%s: mtu %d must be between 68 and 65535", where, link.MTU)
			}
		}
		links = append(links, link)
	}
	return links, nil
}

func (t *rawTopology) parseEndpoint(text string) (Endpoint, error) {
	node, iface, ok := strings.Cut(text, ":")
	if !ok {
		return Endpoint{}, fmt.Errorf("endpoint %q must be NODE:INTERFACE", text)
	}
	if node == "host" || node == "mgmt-net" || node == "macvlan" || node == "dummy" {
		return Endpoint{}, fmt.Errorf("endpoint %q: %s links are not supported, the lab touches no network of this machine", text, node)
	}
	if _, known := t.nodes[node]; !known {
		return Endpoint{}, fmt.Errorf("endpoint %q: there is no node %q; nodes are %s", text, node, strings.Join(slices.Sorted(maps.Keys(t.nodes)), ", "))
	}
	// dev_valid_name() in the kernel, and IFNAMSIZ with its final zero.
	if iface == "" || len(iface) > 15 || iface == "." || iface == ".." || iface == "lo" || strings.ContainsAny(iface, "/: \t\n\v\f\r\x00%") {
		return Endpoint{}, fmt.Errorf("endpoint %q: %q is not usable as an interface name: 1 to 15 characters without blanks, slashes, colons or percent signs, and not lo", text, iface)
	}
	return Endpoint{Node: node, Interface: iface}, nil
}
