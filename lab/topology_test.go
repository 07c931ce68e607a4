package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const inheritance = `
name: full
topology:
  defaults:
    kind: linux
    image: debian:12
    env: {A: default, B: default, N: 7}
    exec: [echo default]
    binds: ["conf/d:/etc/x", "/abs:/etc/d:ro"]
  kinds:
    linux:
      env: {B: kind, C: kind}
      exec: [echo kind]
    bridge: {}
  groups:
    routers:
      image: quay.io/frrouting/frr:8.4.4
      env: {C: group, D: group}
      exec: [echo group]
      binds: ["conf/g:/etc/x:ro"]
      labels: {graph-level: 2}
      sysctls: {net.ipv4.ip_forward: 1}
  nodes:
    r1:
      group: routers
      env: {D: node, NAME: is-__clabNodeName__}
      exec: ["sh -c 'echo \"$HOSTNAME\" two'"]
      cmd: run --flag 'a b'
    plain:
    br: {kind: bridge}
  links:
    - endpoints: ["r1:eth1", "br:p1"]
    - endpoints: ["plain:eth1", "br:p2"]
      mtu: 9000
`

func TestParseInheritance(t *testing.T) {
	topology, err := Parse([]byte(inheritance), "/labs")
	if err != nil {
		t.Fatal(err)
	}
	want := NodeSpec{
		Name: "r1", Kind: "linux", Image: "quay.io/frrouting/frr:8.4.4", Group: "routers", Role: RoleFRR,
		Cmd:     []string{"run", "--flag", "a b"},
		Exec:    [][]string{{"echo", "default"}, {"echo", "kind"}, {"echo", "group"}, {"sh", "-c", `echo "$HOSTNAME" two`}},
		Binds:   []Bind{{"/abs", "/etc/d", true}, {"/labs/conf/g", "/etc/x", true}},
		Env:     map[string]string{"A": "default", "B": "kind", "C": "group", "D": "node", "N": "7", "NAME": "is-r1"},
		Labels:  map[string]string{"graph-level": "2"},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
	}
	if got, _ := topology.Node("r1"); !reflect.DeepEqual(got, want) {
		t.Errorf("r1 is\n%+v, want\n%+v", got, want)
	}
	plain, _ := topology.Node("plain")
	if plain.Role != RoleLinux || plain.Env["B"] != "kind" || len(plain.Exec) != 2 || plain.Cmd != nil {
		t.Errorf("plain is %+v", plain)
	}
	if bridge, _ := topology.Node("br"); bridge.Role != RoleSwitch {
		t.Errorf("br has role %q, want switch", bridge.Role)
	}
	links := []LinkSpec{
		{Endpoint{"r1", "eth1"}, Endpoint{"br", "p1"}, 1500},
		{Endpoint{"plain", "eth1"}, Endpoint{"br", "p2"}, 9000},
	}
	if !reflect.DeepEqual(topology.Links, links) {
		t.Errorf("links are %v, want %v", topology.Links, links)
	}
}

func TestRoleOfImage(t *testing.T) {
	for image, want := range map[string]Role{
		"frr":                             RoleFRR,
		"quay.io/frrouting/frr:8.4.4":     RoleFRR,
		"localhost:5000/frr":              RoleFRR,
		"frr@sha256:0123":                 RoleFRR,
		"ghcr.io/netfabric/fabric:latest": RoleFabric,
		"bird:2.0.12":                     RoleBIRD,
		"osixia/keepalived:2.0":           RoleKeepalived,
		"switch":                          RoleSwitch,
		"x/client":                        RoleClient,
		"debian:12":                       RoleLinux,
		"frr/other":                       RoleLinux,
	} {
		if got, err := roleOf(NodeSpec{Kind: "linux", Image: image}); got != want || err != nil {
			t.Errorf("role of image %s is %q (%v), want %q", image, got, err, want)
		}
	}
	got, err := roleOf(NodeSpec{Kind: "linux", Image: "debian", Labels: map[string]string{"lab.role": "client"}})
	if got != RoleClient || err != nil {
		t.Errorf("label lab.role does not override the image: %q, %v", got, err)
	}
}

// Every row is a file that must be refused, and what the error must name.
func TestParseRefuses(t *testing.T) {
	node := func(lines string) string {
		return "name: x\ntopology:\n  nodes:\n    n1: {kind: linux, image: i" + lines + "}\n"
	}
	links := func(lines string) string {
		return "name: x\ntopology:\n  nodes:\n    n1: {kind: linux, image: i}\n    n2: {kind: linux, image: i}\n  links:\n" + lines
	}
	for _, row := range []struct{ name, file, want string }{
		{"empty", "", "empty"},
		{"not YAML", "name: [", "not valid YAML"},
		{"a list", "- a\n", "must be a mapping"},
		{"no name", "topology: {nodes: {n1: {kind: linux, image: i}}}", "lab name is missing"},
		{"bad name", "name: a/b\ntopology: {nodes: {n1: {kind: linux, image: i}}}", `lab name "a/b"`},
		{"no topology", "name: x", "topology is missing"},
		{"no nodes", "name: x\ntopology: {links: []}", "nodes is empty"},
		{"unknown key on top", "name: x\ntopologie: {}", `"topologie" (line 2)`},
		{"unknown key in topology", "name: x\ntopology: {node: {}}", `"node"`},
		{"unknown key in a node", node(", ports: [80]"), `node n1: the lab does not know the key "ports" (line 4)`},
		{"unknown key in a link", links("    - {endpoints: [\"n1:a\", \"n2:a\"], type: veth}"), `link 1: the lab does not know the key "type"`},
		{"key twice", node(", image: j"), "already defined"},
		{"wrong type", node(", exec: ls"), "node n1"},
		{"bad node name", "name: x\ntopology: {nodes: {-n: {kind: linux, image: i}}}", `node name "-n"`},
		{"no kind", "name: x\ntopology: {nodes: {n1: {image: i}}}", "node n1: kind is missing"},
		{"other kind", "name: x\ntopology: {nodes: {n1: {kind: nokia_srlinux, image: i}}}", `node n1: kind "nokia_srlinux"`},
		{"no image", "name: x\ntopology: {nodes: {n1: {kind: linux}}}", "node n1: image is missing"},
		{"bad role", node(", labels: {lab.role: router}"), `"router" is not a role`},
		{"open quote in exec", node(", exec: [\"sh -c 'a\"]"), "a quote is not closed"},
		{"empty exec", node(", exec: [' ']"), "it is empty"},
		{"backslash ends cmd", node(", cmd: 'a \\'"), "backslash"},
		{"bind without destination", node(", binds: [a]"), `bind "a"`},
		{"bind to a relative path", node(", binds: ['a:b']"), "absolute path"},
		{"bind over everything", node(", binds: ['a:/']"), "below /"},
		{"bind option", node(", binds: ['a:/b:rx']"), `option "rx"`},
		{"sysctl of the machine", node(", sysctls: {kernel.panic: 1}"), `sysctl "kernel.panic"`},
		{"sysctl that climbs", node(", sysctls: {net.../kernel: 1}"), "sysctl"},
		{"network mode", node(", network-mode: host"), `network-mode "host"`},
		{"env name", node(", env: {'A=B': 1}"), `env "A=B"`},
		{"link with one end", links("    - endpoints: [\"n1:eth1\"]"), "must be a pair"},
		{"link to nowhere", links("    - endpoints: [\"n1:eth1\", \"n3:eth1\"]"), `no node "n3"; nodes are n1, n2`},
		{"link to the host", links("    - endpoints: [\"n1:eth1\", \"host:x\"]"), "host links are not supported"},
		{"endpoint without interface", links("    - endpoints: [\"n1\", \"n2:eth1\"]"), "NODE:INTERFACE"},
		{"interface name too long", links("    - endpoints: [\"n1:abcdefghijklmnop\", \"n2:eth1\"]"), "15 characters"},
		{"interface lo", links("    - endpoints: [\"n1:lo\", \"n2:eth1\"]"), "not lo"},
		{"interface used twice", links("    - endpoints: [\"n1:eth1\", \"n2:eth1\"]\n    - endpoints: [\"n1:eth1\", \"n2:eth2\"]"), "already ends link 1"},
		{"tiny mtu", links("    - {endpoints: [\"n1:eth1\", \"n2:eth1\"], mtu: 0}"), "mtu 0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			topology, err := Parse([]byte(row.file), "/")
			if err == nil {
				t.Fatalf("accepted as %+v", topology)
			}
			if !strings.Contains(err.Error(), row.want) {
				t.Errorf("error is %q, want it to name %q", err, row.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error has several lines: %q", err)
			}
		})
	}
}

func TestSplitWords(t *testing.T) {
	for line, want := range map[string][]string{
		"":                      nil,
		"  a\tb\n":              {"a", "b"},
		`a 'b  c' "d \"e\" \n"`: {"a", "b  c", `d "e" \n`},
		`a\ b ''`:               {"a b", ""},
		`x"y"'z'`:               {"xyz"},
	} {
		if got, err := splitWords(line); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("words of %q are %q (%v), want %q", line, got, err, want)
		}
	}
}

// What is accepted must be something the runner can take as it is.
func FuzzParse(f *testing.F) {
	f.Add([]byte(inheritance))
	files, err := filepath.Glob("t*/*.clab.yml")
	if err != nil || len(files) < 4 {
		f.Fatalf("seeds: %v, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		topology, err := Parse(data, "/labs")
		if err != nil {
			return
		}
		seen := map[Endpoint]bool{}
		for _, link := range topology.Links {
			for _, end := range []Endpoint{link.A, link.B} {
				if _, ok := topology.Node(end.Node); !ok || seen[end] || len(end.Interface) > 15 {
					t.Errorf("endpoint %v accepted", end)
				}
				seen[end] = true
			}
		}
		for _, node := range topology.Nodes {
			if node.Role == "" || !validName.MatchString(node.Name) {
				t.Errorf("node %+v accepted", node)
			}
			for _, bind := range node.Binds {
				if !filepath.IsAbs(bind.Source) || !filepath.IsAbs(bind.Destination) {
					t.Errorf("bind %+v accepted", bind)
				}
			}
		}
		if svg := SVG(topology); !strings.HasSuffix(svg, "</svg>\n") || strings.Contains(svg, "NaN") {
			t.Errorf("drawing is broken:\n%s", svg)
		}
		Mermaid(topology)
	})
}

func TestFRRDaemonsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "daemons")
	text := "# bgpd=no\nbgpd=yes\nospfd=no\nbfdd=yes\nvtysh_enable=yes\nzebra=yes\nbgpd_options=\"-A ::1\"\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	list, err := services(NodeSpec{Role: RoleFRR, Binds: []Bind{{Source: path, Destination: "/etc/frr/daemons"}}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range list {
		got = append(got, s.name+fmt.Sprint(s.argv[3:]))
	}
	want := []string{"zebra[-A 127.0.0.1 -s 90000000]", "staticd[-A 127.0.0.1]", "bgpd[-A ::1]", "bfdd[-A 127.0.0.1]"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("services are %q, want %q", got, want)
	}
}
