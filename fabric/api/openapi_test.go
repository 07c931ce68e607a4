package api

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestOpenAPI(t *testing.T) {
	m := newFixture(t, "n1").members["n1"]
	resp, err := m.unix.raw(t.Context(), "/1.0/openapi.json")
	must(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	must(t, err)
	var doc struct {
		OpenAPI    string
		Paths      map[string]map[string]struct{ Summary, OperationID string }
		Components struct{ Schemas map[string]any }
	}
	must(t, json.Unmarshal(data, &doc))
	ids, n := map[string]bool{}, 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if op.Summary == "" || ids[op.OperationID] {
				t.Errorf("%s %s: summary %q, operationId %q", method, path, op.Summary, op.OperationID)
			}
			ids[op.OperationID] = true
			n++
		}
	}
	for _, rt := range routes {
		if _, ok := doc.Paths[rt.path][strings.ToLower(rt.method)]; !ok {
			t.Errorf("%s %s is missing", rt.method, rt.path)
		}
	}
	if n != len(routes) || doc.OpenAPI != "3.1.0" {
		t.Fatalf("%d operations for %d routes", n, len(routes))
	}
	refs := 0
	for _, ref := range regexp.MustCompile(`"\$ref":"([^"]+)"`).FindAllStringSubmatch(string(data), -1) {
		name, ok := strings.CutPrefix(ref[1], "#/components/schemas/")
		if _, there := doc.Components.Schemas[name]; !ok || !there {
			t.Errorf("%s does not resolve", ref[1])
		}
		refs++
	}
	instance, _ := doc.Components.Schemas["Instance"].(map[string]any)
	if refs < 50 || instance != nil && instance["properties"].(map[string]any)["expanded_config"] == nil {
		t.Fatalf("%d references", refs)
	}
}

// TestEveryRouteAnswers calls every route of the table with nonsense: none may panic, and all but files and websockets answer in the envelope.
func TestEveryRouteAnswers(t *testing.T) {
	for _, state := range []string{"before the cluster", "in a cluster"} {
		t.Run(state, func(t *testing.T) {
			f := newFixture(t, "n1")
			if state != "before the cluster" {
				f = bootstrapped(t, "n1")
			}
			for _, rt := range routes {
				if rt.path == "/1.0/openapi.json" || rt.path == "/1.0/metrics" {
					continue
				}
				path := pathParameter.ReplaceAllString(rt.path, "x")
				resp, e := f.members["n1"].raw(t, rt.method, path, "{}")
				if resp.StatusCode == http.StatusInternalServerError {
					t.Errorf("%s %s: %s", rt.method, path, e.Error)
				}
				if state == "before the cluster" && rt.access == trusted && resp.StatusCode != http.StatusServiceUnavailable {
					t.Errorf("%s %s: status %d outside of a cluster", rt.method, path, resp.StatusCode)
				}
			}
		})
	}
}
