package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"netfabric/fabric"
)

const reasonsPage = "../../docs/reasons.md"

const reasonsIntro = `# Why a prefix is not announced

Every "no" of the routing has a slug that stays the same: in ` + "`fabricctl route list`, `route explain`" + `, the API and in events. The table is made from
the program's own (` + "`go test ./cmd/fabricctl -run TestReasonsPage -update`" + `); ` + "`fabricctl route reasons`" + ` prints the same. *At* is the place on the way
from what was asked for to what a peer was told: what stands further up is looked at first.

| reason | at | what it means | what to do |
|---|---|---|---|
`

// TestReasonsPage checks that docs/reasons.md says what the program says.
func TestReasonsPage(t *testing.T) {
	var page strings.Builder
	page.WriteString(reasonsIntro)
	for _, r := range fabric.ReasonTexts() {
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", r.Slug, r.Stage, r.Cause, r.Fix)
	}
	if *update {
		if err := os.WriteFile(reasonsPage, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(reasonsPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != page.String() {
		t.Errorf("%s is not what the program says: run go test ./cmd/fabricctl -run TestReasonsPage -update", reasonsPage)
	}
}
