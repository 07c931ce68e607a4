package fabric

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every slug of this package has words and a place, and no words are for a slug that does not exist.
func TestEveryReasonHasText(t *testing.T) {
	slugs := reasonSlugs(t)
	if len(slugs) < 18 {
		t.Fatalf("found %d slugs only: %v", len(slugs), slugs)
	}
	for _, slug := range slugs {
		text, ok := reasonTexts[slug]
		if !ok {
			t.Errorf("reason %q has no text in reason.go", slug)
			continue
		}
		if text.Cause == "" || text.Stage.Order() < 0 {
			t.Errorf("reason %q: %+v has no cause or no stage", slug, text)
		}
		if strings.HasSuffix(text.Cause, ".") || strings.HasSuffix(text.Fix, ".") {
			t.Errorf("reason %q: cause and fix are clauses", slug)
		}
	}
	for slug := range reasonTexts {
		if !slices.Contains(slugs, slug) {
			t.Errorf("there is text for %q, which is no reason", slug)
		}
	}
	if got := TextOfReason("from-the-future"); got.Cause != "from-the-future" || got.Slug != "from-the-future" || got.Fix != "" {
		t.Errorf("an unknown reason is told as %+v", got)
	}
	all := ReasonTexts()
	if len(all) != len(reasonTexts) || !slices.IsSortedFunc(all, func(a, b ReasonText) int { return a.Stage.Order() - b.Stage.Order() }) {
		t.Errorf("the list of reasons is %+v", all)
	}
}

// reasonSlugs are the values of the constants of this package that are called Reason….
func reasonSlugs(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var slugs []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(v.Names[0].Name, "Reason") || len(v.Values) != 1 {
				return true
			}
			if lit, ok := v.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				slug, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				slugs = append(slugs, slug)
			}
			return true
		})
	}
	return slugs
}
