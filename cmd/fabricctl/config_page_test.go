package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/config.md anew instead of comparing it")

const configPage = "../../docs/config.md"

// pageIntro stands above the tables of docs/config.md.
const pageIntro = `# Config keys

Every config key of every object. The tables are made from the program's own (` + "`go test ./cmd/fabricctl -run TestConfigPage -update`" + `);
` + "`fabricctl config keys`" + ` prints the same.

An empty default means: nothing, unless the meaning says otherwise. A trailing ` + "`*`" + ` stands for any name. Scope ` + "`global`" + ` is one value for the
whole cluster, ` + "`member`" + ` a value for each member.
`

// sections are the objects of the page in its order, with how the keys are set.
var sections = []struct{ object, title, intro string }{
	{"server", "The cluster", "`fabricctl config set KEY=VALUE`"},
	{"member", "A member", "`fabricctl cluster set MEMBER KEY=VALUE`"},
	{"instance", "Instances and profiles", "`fabricctl config set INSTANCE KEY=VALUE`, `fabricctl profile set PROFILE KEY=VALUE`. What an instance says overrides its profiles, and later profiles override earlier ones."},
	{"device-nic", "Devices of type nic", "`fabricctl config device set INSTANCE DEVICE KEY=VALUE`, `fabricctl profile device set PROFILE DEVICE KEY=VALUE`"},
	{"device-disk", "Devices of type disk", "As for nic."},
	{"device-none", "Devices of type none", "As for nic."},
	{"network", "Networks", "`fabricctl network set NETWORK KEY=VALUE`; with `--target MEMBER` for the keys of scope member."},
	{"storage-dir", "Storage pools with driver dir", "`fabricctl storage create POOL dir KEY=VALUE`; with `--target MEMBER` for the keys of scope member."},
}

// renderConfigPage writes docs/config.md.
func renderConfigPage() string {
	var page strings.Builder
	page.WriteString(pageIntro)
	tables := keyTables()
	for _, s := range sections {
		fmt.Fprintf(&page, "\n## %s\n\n%s\n\n| key | type | default | scope | meaning |\n|---|---|---|---|---|\n", s.title, s.intro)
		for _, k := range tables[s.object] {
			cells := []string{"`" + k.Name + "`", k.Type.Name, k.Default, string(k.Scope), k.Help}
			for i := range cells {
				cells[i] = strings.ReplaceAll(cells[i], "|", `\|`)
			}
			fmt.Fprintf(&page, "| %s |\n", strings.Join(cells, " | "))
		}
	}
	return page.String()
}

// TestConfigPage checks that docs/config.md says what the key tables say, of every object that has any.
func TestConfigPage(t *testing.T) {
	var shown []string
	for _, s := range sections {
		shown = append(shown, s.object)
	}
	slices.Sort(shown)
	if all := slices.Sorted(maps.Keys(keyTables())); !slices.Equal(shown, all) {
		t.Fatalf("the page has %v, and there are keys of %v", shown, all)
	}
	want := renderConfigPage()
	if *update {
		if err := os.WriteFile(configPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(configPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Errorf("%s is not what the tables say: run go test ./cmd/fabricctl -run TestConfigPage -update", configPage)
	}
}
