package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// writeYAML prints what json would, in the same order and under the same names: API objects have one set of field names.
func writeYAML(w io.Writer, v any) error {
	node, err := yamlNode(v)
	if err != nil {
		return err
	}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(node); err != nil {
		return err
	}
	return e.Close()
}

// yamlNode is the JSON form of v as YAML.
func yamlNode(v any) (*yaml.Node, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return nextNode(d)
}

// nextNode reads the next value. The text is not handed to the YAML parser: that takes some characters which JSON allows for line breaks.
func nextNode(d *json.Decoder) (*yaml.Node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	scalar := func(tag, value string) (*yaml.Node, error) {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}, nil
	}
	switch v := token.(type) {
	case nil:
		return scalar("!!null", "null")
	case bool:
		return scalar("!!bool", fmt.Sprint(v))
	case string:
		return scalar("!!str", v)
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return scalar("!!float", v.String())
		}
		return scalar("!!int", v.String())
	}
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	if token == json.Delim('[') {
		n = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	}
	for d.More() {
		child, err := nextNode(d)
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, child)
	}
	if len(n.Content) == 0 {
		n.Style = yaml.FlowStyle // {} and [] have no block form
	}
	_, err = d.Token() // the closing delimiter
	return n, err
}

// readYAML reads what writeYAML wrote and somebody may have changed. Fields that v does not have are mistakes, but for those of something called name
// that are only shown.
func readYAML(data []byte, v any, only []string, name string) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return fmt.Errorf("it is not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if doc.Kind != yaml.DocumentNode || doc.Content[0].Kind != yaml.MappingNode {
		return fmt.Errorf("it is not a set of \"field: value\" lines")
	}
	generic, err := plainValue(doc.Content[0], false)
	if err != nil {
		return err
	}
	if err := withoutShown(generic.(map[string]any), only, name); err != nil {
		return err
	}
	data, err = json.Marshal(generic)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if e := (*json.UnmarshalTypeError)(nil); errors.As(err, &e) {
			return fmt.Errorf("%s can't be a %s", e.Field, e.Value)
		}
		return fmt.Errorf("%s", plainWords(err))
	}
	return nil
}

// plainWords are an error of a decoder without the names of its functions.
func plainWords(err error) string {
	text := strings.TrimPrefix(err.Error(), "json: ")
	for function, want := range map[string]string{"netip.ParsePrefix(": "a prefix, such as 192.0.2.0/24", "ParseAddr(": "an IP address"} {
		if quoted, ok := strings.CutPrefix(text, function); ok {
			if value, err := strconv.QuotedPrefix(quoted); err == nil {
				return value + " is not " + want
			}
		}
	}
	return text
}

// textFields are the fields all of whose values are text. What looks like a number or a date there is text all the same: 1.10 is not 1.1.
var textFields = []string{"config", "devices", "properties"}

// plainValue is a node as encoding/json takes it. With text every scalar is text.
func plainValue(n *yaml.Node, text bool) (any, error) {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: a key is not text", key.Line)
			}
			if _, ok := m[key.Value]; ok {
				return nil, fmt.Errorf("line %d: %q is there twice", key.Line, key.Value)
			}
			value, err := plainValue(n.Content[i+1], text || slices.Contains(textFields, key.Value))
			if err != nil {
				return nil, err
			}
			m[key.Value] = value
		}
		return m, nil
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			value, err := plainValue(c, text)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, nil
	case yaml.AliasNode:
		return nil, fmt.Errorf("line %d: aliases such as *%s are not taken", n.Line, n.Value)
	}
	switch n.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool", "!!int", "!!float":
		if text {
			return n.Value, nil
		}
		var v any
		if err := n.Decode(&v); err != nil {
			return nil, fmt.Errorf("line %d: %s", n.Line, strings.TrimPrefix(err.Error(), "yaml: "))
		}
		return v, nil
	}
	return n.Value, nil
}

// flatten gives a row for each scalar, named by the path to it.
func flatten(rows [][]string, path string, n *yaml.Node) [][]string {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			name := n.Content[i].Value
			if path != "" {
				name = path + "." + name
			}
			rows = flatten(rows, name, n.Content[i+1])
		}
		return rows
	case yaml.SequenceNode:
		for i, c := range n.Content {
			rows = flatten(rows, fmt.Sprintf("%s[%d]", path, i), c)
		}
		return rows
	}
	return append(rows, []string{path, n.Value})
}
