package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"time"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// openAPI makes the OpenAPI 3.1 document of a route table from the table and the Go types in it.
func openAPI(table []route, version string) []byte {
	g := generator{schemas: map[string]any{}, types: map[string]reflect.Type{}}
	paths := map[string]map[string]any{}
	for _, rt := range table {
		if paths[rt.path] == nil {
			paths[rt.path] = map[string]any{}
		}
		paths[rt.path][strings.ToLower(rt.method)] = g.operation(rt)
	}
	doc := map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "fabric", "version": version,
			"description": "REST API of a fabric cluster, in the dialect of LXD 1.0. Metadata of answers is shown; it stands in an envelope.",
		},
		"paths":      paths,
		"components": map[string]any{"schemas": g.schemas},
	}
	g.schema(reflect.TypeFor[incusapi.Event]())
	g.schema(reflect.TypeFor[RoutingEvent]())
	data, err := json.Marshal(doc)
	if err != nil {
		panic(err) // maps of strings
	}
	return data
}

type generator struct {
	schemas map[string]any
	types   map[string]reflect.Type // of the schemas, by name
}

type object = map[string]any

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

func (g *generator) operation(rt route) object {
	op := object{"summary": rt.summary, "operationId": operationID(rt)}
	parameters := []object{}
	for _, m := range pathParameter.FindAllStringSubmatch(rt.path, -1) {
		parameters = append(parameters, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, q := range queries(rt) {
		parameters = append(parameters, object{"name": q[0], "in": "query", "description": q[1], "schema": object{"type": "string"}})
	}
	if len(parameters) > 0 {
		op["parameters"] = parameters
	}
	if rt.in != nil {
		op["requestBody"] = object{"required": true, "content": jsonContent(g.schema(reflect.TypeOf(rt.in)))}
	}
	op["responses"] = object{
		"default":              object{"description": "Error", "content": jsonContent(g.envelope("error", reflect.TypeFor[ErrorDetail]()))},
		statusCodes[rt.kind()]: g.success(rt),
	}
	return op
}

// statusCodes are the statuses of success.
var statusCodes = map[string]string{"async": "202", "sync": "200", "raw": "200", "switch": "101"}

// kind is how a route answers.
func (rt route) kind() string {
	_, async := rt.out.(incusapi.Operation)
	switch {
	case strings.HasSuffix(rt.path, "/websocket") || strings.HasSuffix(rt.path, "/events"):
		return "switch"
	case async && rt.method != http.MethodGet:
		return "async"
	case rt.out == nil && rt.method == http.MethodGet:
		return "raw"
	}
	return "sync"
}

func (g *generator) success(rt route) object {
	switch kind := rt.kind(); kind {
	case "switch":
		return object{"description": "The connection becomes a websocket"}
	case "raw":
		return object{"description": "The content itself", "content": object{"*/*": object{"schema": object{}}}}
	default:
		return object{"description": "Success", "content": jsonContent(g.envelope(kind, reflect.TypeOf(rt.out)))}
	}
}

func jsonContent(schema object) object {
	return object{"application/json": object{"schema": schema}}
}

// envelope is the schema of an answer with metadata of the given type.
func (g *generator) envelope(typ string, metadata reflect.Type) object {
	properties := object{
		"type": object{"const": typ}, "status": object{"type": "string"}, "status_code": object{"type": "integer"},
		"operation": object{"type": "string"}, "error_code": object{"type": "integer"}, "error": object{"type": "string"}, "metadata": object{},
	}
	if metadata != nil {
		properties["metadata"] = g.schema(metadata)
	}
	return object{"type": "object", "properties": properties}
}

// queries are the query parameters of a route.
func queries(rt route) [][2]string {
	all := [][2]string{{"project", "Name of the project; the one there is is default"}, {"target", "Name of the member that the request is about"}}
	if rt.out != nil && reflect.TypeOf(rt.out).Kind() == reflect.Slice {
		all = append(all, [2]string{"recursion", "0: addresses, 1: objects, 2: objects with their state"}, [2]string{"filter", "Which objects: field eq value, with ne, not, and, or"})
	}
	switch {
	case strings.HasSuffix(rt.path, "/wait"):
		all = append(all, [2]string{"timeout", "Seconds to wait, -1 for ever"})
	case strings.HasSuffix(rt.path, "/websocket"):
		all = append(all, [2]string{"secret", "Secret of the stream"})
	case strings.HasSuffix(rt.path, "/events"):
		all = append(all, [2]string{"type", "Types of events, with commas between"})
	case rt.method == http.MethodDelete:
		all = append(all, [2]string{"force", "1: even when something stands in the way"})
	}
	return all
}

// operationID is method and path in one word.
func operationID(rt route) string {
	id := strings.ToLower(rt.method)
	if rt.path == "/1.0" {
		id += "_server"
	}
	for part := range strings.FieldsFuncSeq(strings.TrimPrefix(rt.path, "/1.0"), func(r rune) bool { return strings.ContainsRune("/-{}.", r) }) {
		id += "_" + part
	}
	return id
}

// schema is the schema of a type. Structs with a name become components.
func (g *generator) schema(t reflect.Type) object {
	if t.Kind() == reflect.Pointer {
		return g.schema(t.Elem())
	}
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[json.RawMessage]():
		return object{}
	case t == reflect.TypeFor[fabric.PeerASN]():
		return object{"oneOf": []object{{"type": "integer"}, {"type": "string", "enum": []string{"internal", "external"}}}}
	case t.Kind() == reflect.Struct && readsItself(t): // addresses and prefixes
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer", "minimum": 0}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice, reflect.Array:
		return object{"type": "array", "items": g.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": g.schema(t.Elem())}
	case reflect.Struct:
		return g.component(t)
	}
	return object{} // anything
}

func (g *generator) component(t reflect.Type) object {
	name := t.Name()
	if other, taken := g.types[name]; taken && other != t { // a type of ours and one of the dialect with one name
		name = "Fabric" + name
	}
	ref := object{"$ref": "#/components/schemas/" + name}
	if g.types[name] == t {
		return ref
	}
	g.types[name] = t
	properties := object{}
	for _, f := range jsonFields(t) {
		properties[f.name] = g.schema(f.Type)
	}
	g.schemas[name] = object{"type": "object", "properties": properties}
	return ref
}
