package api

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"netfabric/fabric"
)

// filter tells which objects of a list are wanted: "field eq value", with ne, not, and, or; and binds closer than or. A field is a path in the
// object's JSON. A value is a regular expression for the whole of a string, whatever its case, as in LXD; with spaces it stands in quotes.
type filter struct {
	anyOf [][]term // one group of terms must hold as a whole
}

type term struct {
	field  string
	negate bool
	value  string
	expr   *regexp.Regexp
}

// maxFilter bounds the work that a filter can make.
const maxFilter = 4096

// parseFilter reads a filter; nil for an empty one.
func parseFilter(s string) (*filter, error) {
	bad := func(format string, args ...any) (*filter, error) {
		return nil, fabric.Invalidf("bad-filter", "filter: "+format, args...).WithFix(`write it as: field eq value and other.field ne "some value"`)
	}
	if len(s) > maxFilter {
		return bad("longer than %d bytes", maxFilter)
	}
	words, err := splitWords(s)
	if err != nil {
		return bad("%w", err)
	}
	if len(words) == 0 {
		return nil, nil
	}
	f := &filter{anyOf: [][]term{{}}}
	for {
		t := term{}
		for len(words) > 0 && words[0] == "not" {
			t.negate, words = !t.negate, words[1:]
		}
		if len(words) < 3 {
			return bad("%q is not complete", s)
		}
		switch words[1] {
		case "eq":
		case "ne":
			t.negate = !t.negate
		default:
			return bad("%q is no comparison: eq and ne are", words[1])
		}
		t.field, t.value = words[0], words[2]
		if t.expr, err = regexp.Compile("(?is)^(?:" + t.value + ")$"); err != nil {
			return bad("value %q is not a regular expression", t.value)
		}
		last := len(f.anyOf) - 1
		f.anyOf[last] = append(f.anyOf[last], t)
		if words = words[3:]; len(words) == 0 {
			return f, nil
		}
		switch words[0] {
		case "and":
		case "or":
			f.anyOf = append(f.anyOf, nil)
		default:
			return bad("%q stands where and, or, or the end should be", words[0])
		}
		words = words[1:]
	}
}

// splitWords splits at spaces outside of quotes.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote := false, rune(0)
	for _, c := range s {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '"' || c == '\'':
			inWord, quote = true, c
		case unicode.IsSpace(c):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			inWord = true
			word.WriteRune(c)
		}
	}
	if quote != 0 {
		return nil, fabric.Invalidf("bad-filter", "a quote is not closed")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// json tells whether an object fits.
func (f *filter) json(object []byte) bool {
	var v any
	if json.Unmarshal(object, &v) != nil {
		return false
	}
	for _, group := range f.anyOf {
		all := true
		for _, t := range group {
			if t.holds(v) == t.negate {
				all = false
				break
			}
		}
		if all {
			return true
		}
	}
	return false
}

func (t term) holds(object any) bool {
	v, ok := lookup(object, t.field)
	if !ok {
		return false
	}
	switch v := v.(type) {
	case string:
		return t.expr.MatchString(v)
	case bool:
		return t.value == strconv.FormatBool(v)
	case float64:
		n, err := strconv.ParseFloat(t.value, 64)
		return err == nil && n == v
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok && t.expr.MatchString(s) {
				return true
			}
		}
	}
	return false
}

// lookup follows a path of keys with dots between them; keys may have dots of their own.
func lookup(v any, path string) (any, bool) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, false
	}
	if found, ok := m[path]; ok {
		return found, true
	}
	for i, c := range path {
		if c != '.' {
			continue
		}
		if below, ok := m[path[:i]]; ok {
			if found, ok := lookup(below, path[i+1:]); ok {
				return found, true
			}
		}
	}
	return nil, false
}
