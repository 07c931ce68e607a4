package fabric

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Config is a set of keys with values as a user gave them. A key that is absent has its default.
type Config map[string]string

// Devices are the devices of an instance or profile by name; each is a Config whose key "type" says which key table it follows.
type Devices map[string]Config

// Scope says who a config key speaks for.
type Scope string

// The scopes of config keys.
const (
	ScopeGlobal Scope = "global" // one value for the cluster
	ScopeMember Scope = "member" // a value for each member
)

// ValueType is the type of a config value; Parse functions for each stand in this file.
type ValueType struct {
	Name  string // as help shows it
	Check func(value string) error
}

// ConfigKey is the one description of a config key: validation, documentation and completion read it.
type ConfigKey struct {
	Name    string // a trailing ".*" stands for any name below
	Type    ValueType
	Default string
	Scope   Scope
	Help    string
}

// KeyTable is the set of keys of one sort of Config.
type KeyTable []ConfigKey

// Lookup finds the description of a key.
func (t KeyTable) Lookup(name string) (ConfigKey, bool) {
	for _, k := range t {
		if k.Name == name {
			return k, true
		}
		if prefix, ok := strings.CutSuffix(k.Name, "*"); ok && strings.HasPrefix(name, prefix) && len(name) > len(prefix) {
			return k, true
		}
	}
	return ConfigKey{}, false
}

// Get is the value of a key, or its default. It panics for a key that the table does not have.
func (t KeyTable) Get(c Config, name string) string {
	k, ok := t.Lookup(name)
	if !ok {
		panic("no config key " + name)
	}
	if v, ok := c[name]; ok && v != "" {
		return v
	}
	return k.Default
}

// Check refuses unknown keys and values that are not of their key's type. what names the object in the error.
func (t KeyTable) Check(what string, c Config) error {
	for _, name := range slices.Sorted(maps.Keys(c)) {
		k, ok := t.Lookup(name)
		if !ok {
			err := Invalidf("unknown-key", "%s has no config key %q", what, name)
			if near := t.nearest(name); near != "" {
				return err.WithFix("did you mean %q?", near)
			}
			return err
		}
		v := c[name]
		if v == "" {
			continue // unset
		}
		if i := strings.IndexFunc(v, func(r rune) bool { return r == 0 || r == unicode.ReplacementChar }); i >= 0 {
			return Invalidf("bad-value", "%s: value of %q has a byte at position %d that is not text", what, name, i)
		}
		if err := k.Type.Check(v); err != nil {
			return Invalidf("bad-value", "%s: %s=%q: %v", what, name, v, err)
		}
	}
	return nil
}

// nearest is the known key with the smallest edit distance to name, if one is near.
func (t KeyTable) nearest(name string) string {
	best, distance := "", 4
	for _, k := range t {
		if d := editDistance(name, k.Name); d < distance {
			best, distance = k.Name, d
		}
	}
	return best
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// The value types of config keys.
var (
	String = ValueType{"string", func(v string) error {
		if strings.ContainsAny(v, "\n\r") {
			return fmt.Errorf("a value has one line")
		}
		return nil
	}}
	Text = ValueType{"text", func(string) error { return nil }}
	Bool = ValueType{"bool", func(v string) error {
		if _, ok := bools[strings.ToLower(v)]; !ok {
			return fmt.Errorf("want true or false")
		}
		return nil
	}}
	Prefix4 = prefixType(4)
	Prefix6 = prefixType(6)
	// Prefixes4 and Prefixes6 are comma-separated lists of prefixes.
	Prefixes4 = prefixListType(4)
	Prefixes6 = prefixListType(6)
	Addr4     = addrType(4)
	Addr6     = addrType(6)
	ASN       = Integer(1, 4294967295)
)

var bools = map[string]bool{"true": true, "1": true, "yes": true, "on": true, "false": false, "0": false, "no": false, "off": false}

// ParseBool reads a value that the type Bool accepted; everything else is false.
func ParseBool(v string) bool { return bools[strings.ToLower(v)] }

// Integer is the type of whole numbers from low to high.
func Integer(low, high int64) ValueType {
	return ValueType{fmt.Sprintf("integer %d-%d", low, high), func(v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < low || n > high {
			return fmt.Errorf("want a whole number from %d to %d", low, high)
		}
		return nil
	}}
}

// OneOf is the type of a fixed set of words.
func OneOf(words ...string) ValueType {
	return ValueType{strings.Join(words, "|"), func(v string) error {
		if !slices.Contains(words, v) {
			return fmt.Errorf("want one of %s", strings.Join(words, ", "))
		}
		return nil
	}}
}

// Or is the type of values that are one of words, or of type t.
func Or(t ValueType, words ...string) ValueType {
	return ValueType{t.Name + "|" + strings.Join(words, "|"), func(v string) error {
		if slices.Contains(words, v) {
			return nil
		}
		if err := t.Check(v); err != nil {
			return fmt.Errorf("%w, or %s", err, strings.Join(words, " or "))
		}
		return nil
	}}
}

func prefixType(family int) ValueType {
	return ValueType{fmt.Sprintf("IPv%d address/length", family), func(v string) error {
		p, err := netip.ParsePrefix(v)
		if err != nil || familyOf(p.Addr()) != family {
			return fmt.Errorf("want an IPv%d address with a prefix length", family)
		}
		return nil
	}}
}

func addrType(family int) ValueType {
	return ValueType{fmt.Sprintf("IPv%d address", family), func(v string) error {
		a, err := netip.ParseAddr(v)
		if err != nil || familyOf(a) != family || a.Zone() != "" {
			return fmt.Errorf("want an IPv%d address", family)
		}
		return nil
	}}
}

func prefixListType(family int) ValueType {
	return ValueType{fmt.Sprintf("list of IPv%d prefixes", family), func(v string) error {
		ps, err := ParsePrefixes(v)
		if err != nil {
			return err
		}
		for _, p := range ps {
			if familyOf(p.Addr()) != family {
				return fmt.Errorf("%s is not IPv%d", p, family)
			}
		}
		return nil
	}}
}

// ParsePrefixes reads a comma-separated list of prefixes. A bare address is a host prefix; host bits must be zero.
func ParsePrefixes(v string) ([]netip.Prefix, error) {
	var ps []netip.Prefix
	for field := range strings.SplitSeq(v, ",") {
		field = strings.TrimSpace(field)
		if field == "" {
			continue
		}
		p, err := ParsePrefix(field)
		if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// ParsePrefix reads one prefix. A bare address is a host prefix; host bits must be zero.
func ParsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is not a prefix (ADDRESS/LENGTH)", s)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s has bits set past its length: did you mean %s?", p, p.Masked())
	}
	return p, nil
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return 4
	}
	return 6
}
