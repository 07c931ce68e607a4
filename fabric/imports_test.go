package fabric_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rule says which packages of ours, and which third-party modules with an owner, the packages below a folder may import.
type rule struct {
	folder string
	ours   []string // folders below which everything may be imported; "*" is all
}

// rules are looked up by the longest folder that fits. docs/architecture.md says why they are what they are.
var rules = []rule{
	{"fabric", nil},
	{"fabric/api", []string{"fabric", "fabric/explain"}},
	{"fabric/explain", []string{"fabric"}},
	{"fabric/agent", []string{"fabric"}},
	{"fabric/bridge", []string{"fabric"}},
	{"fabric/fabrictest", []string{"fabric"}},
	{"fabric/inside", []string{"fabric"}},
	{"fabric/realtime", nil},
	{"fabric/router", []string{"fabric", "fabric/inside", "fabric/realtime", "bgp", "vrrp", "ovn/chassis"}},
	{"bgp", []string{"fabric"}},
	{"bgp/gobgp", []string{"fabric", "bgp"}},
	{"cluster", []string{"fabric"}},
	{"vrrp", []string{"fabric"}},
	{"compute", []string{"fabric"}},
	{"compute/lxc", []string{"fabric", "compute"}},
	{"compute/busyboximage", []string{"compute/busyboximage"}},
	{"ovn/chassis", nil},
	{"storage", []string{"fabric"}},
	{"storage/dir", []string{"fabric", "storage"}},
	{"storage/storagetest", []string{"fabric", "storage"}},
	{"cmd", []string{"*"}},
	{"lab", []string{"*"}},
}

// owners are the modules whose types stop at one package.
var owners = map[string][]string{
	"github.com/osrg/gobgp":          {"bgp/gobgp"},
	"github.com/canonical/go-dqlite": {"cluster"},
	"github.com/lxc/go-lxc":          {"compute/lxc"},
	"github.com/lxc/incus":           {"fabric/api", "cmd/fabricctl"},
	"github.com/prometheus":          {"fabric/api"},
	"github.com/ovn-org/libovsdb":    {"ovn"},
	"github.com/cenkalti/rpc2":       {"ovn/chassis"},
}

const module = "netfabric/"

func TestImports(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(file, ".go") {
			return nil
		}
		seen++
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		folder := strings.TrimPrefix(path.Dir(filepath.ToSlash(file)), "../")
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			checkImport(t, folder, file, imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Fatalf("looked at %d files only", seen)
	}
}

func checkImport(t *testing.T, folder, file, imported string) {
	t.Helper()
	test := strings.HasSuffix(file, "_test.go")
	for prefix, packages := range owners {
		if strings.HasPrefix(imported, prefix) && !slices.Contains(packages, folder) && !test {
			t.Errorf("%s imports %s: its types stop at %s", file, imported, strings.Join(packages, ", "))
		}
	}
	if strings.HasPrefix(imported, "github.com/vishvananda/netlink") && !test && !strings.HasSuffix(file, "_linux.go") {
		t.Errorf("%s imports netlink: it stays in *_linux.go files at the edge", file)
	}
	if folder == "fabric" && !test && strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
		t.Errorf("%s imports %s: package fabric has the standard library only", file, imported)
	}
	ours, isOurs := strings.CutPrefix(imported, module)
	if !isOurs || ours == folder {
		return
	}
	r := ruleFor(folder)
	if r == nil {
		t.Errorf("%s: folder %s has no rule", file, folder)
		return
	}
	allowed := slices.ContainsFunc(r.ours, func(prefix string) bool {
		if prefix == "fabric" { // fabric/api and its siblings are not part of what "fabric" allows, save for tests
			return ours == "fabric" || test && ours == "fabric/fabrictest"
		}
		return prefix == "*" || ours == prefix || strings.HasPrefix(ours, prefix+"/")
	})
	if !allowed && !(test && strings.HasPrefix(ours, folder)) && !(test && (ours == "storage/storagetest" || ours == "bgp/bgptest")) && !(test && ours == "fabric/fabrictest") {
		t.Errorf("%s imports %s: %s may import %v", file, ours, r.folder, r.ours)
	}
}

func ruleFor(folder string) *rule {
	var best *rule
	for i, r := range rules {
		if (folder == r.folder || strings.HasPrefix(folder, r.folder+"/")) && (best == nil || len(r.folder) > len(best.folder)) {
			best = &rules[i]
		}
	}
	return best
}
