package api

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
)

// jsonField is a field of a struct as JSON has it.
type jsonField struct {
	reflect.StructField
	name      string
	omitempty bool
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// readsItself tells whether a type has its own form in JSON.
func readsItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler)
}

// jsonFields lists the fields of a struct under their names in JSON, those of embedded structs in place. An outer field hides an inner one.
func jsonFields(t reflect.Type) []jsonField {
	var all []jsonField
	at := map[string]int{}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			continue
		}
		if name == "" {
			name = f.Name
		}
		field := jsonField{f, name, strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")}
		i, taken := at[name]
		switch {
		case !taken:
			at[name] = len(all)
			all = append(all, field)
		case len(f.Index) < len(all[i].Index):
			all[i] = field
		}
	}
	return all
}
