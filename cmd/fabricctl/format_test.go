package main

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"netfabric/fabric/api"
	"time"
)

type thing struct {
	Name   string            `json:"name"`
	Note   string            `json:"note"`
	Number int64             `json:"number"`
	Config map[string]string `json:"config"`
	Empty  []string          `json:"empty"`
}

var things = []thing{
	{Name: "web10", Note: "a <b> & \"c\"", Number: 1 << 60, Config: map[string]string{"k": "true", "z": "1.10"}},
	{Name: "web2", Note: "東京 🙂 e\u0301", Number: 2},
	{Name: "evil", Note: "red\x1b[31m\ttab\u0085", Number: 3},
	{Name: "two", Note: "10.1.0.2 (eth0)\n10.2.0.2 (eth1)", Number: 4},
}

var thingColumns = []column[thing]{
	{"NAME", func(v thing) string { return v.Name }},
	{"NOTE", func(v thing) string { return v.Note }},
}

func TestListFormats(t *testing.T) {
	for f, want := range map[format]string{
		"table": `
+-------+-----------------+
| NAME  |      NOTE       |
+-------+-----------------+
| evil  | red?[31m?tab?   |
+-------+-----------------+
| two   | 10.1.0.2 (eth0) |
|       | 10.2.0.2 (eth1) |
+-------+-----------------+
| web2  | 東京 🙂 e` + "\u0301" + `       |
+-------+-----------------+
| web10 | a <b> & "c"     |
+-------+-----------------+
`,
		"compact": `
NAME   NOTE
evil   red?[31m?tab?
two    10.1.0.2 (eth0)
       10.2.0.2 (eth1)
web2   東京 🙂 e` + "\u0301" + `
web10  a <b> & "c"
`,
		"csv": `
evil,red` + "\x1b[31m\ttab\u0085" + `
two,"10.1.0.2 (eth0)
10.2.0.2 (eth1)"
web2,東京 🙂 e` + "\u0301" + `
web10,"a <b> & ""c"""
`,
		"yaml": `
- name: evil
  note: "red\e[31m\ttab\N"
  number: 3
  config: null
  empty: null
- name: two
  note: |-
    10.1.0.2 (eth0)
    10.2.0.2 (eth1)
  number: 4
  config: null
  empty: null
- name: web2
  note: "東京 \U0001F642 e` + "\u0301" + `"
  number: 2
  config: null
  empty: null
- name: web10
  note: a <b> & "c"
  number: 1152921504606846976
  config:
    k: "true"
    z: "1.10"
  empty: null
`,
		"json": `
[
  {
    "name": "evil",
    "note": "red\u001b[31m\ttab` + "\u0085" + `",
    "number": 3,
    "config": null,
    "empty": null
  },
  {
    "name": "two",
    "note": "10.1.0.2 (eth0)\n10.2.0.2 (eth1)",
    "number": 4,
    "config": null,
    "empty": null
  },
  {
    "name": "web2",
    "note": "東京 🙂 e` + "\u0301" + `",
    "number": 2,
    "config": null,
    "empty": null
  },
  {
    "name": "web10",
    "note": "a <b> & \"c\"",
    "number": 1152921504606846976,
    "config": {
      "k": "true",
      "z": "1.10"
    },
    "empty": null
  }
]
`,
	} {
		for _, order := range [][]thing{things, {things[3], things[1], things[0], things[2]}} {
			var b bytes.Buffer
			if err := list(&b, f, slices.Clone(order), thingColumns); err != nil {
				t.Fatal(err)
			}
			if got := b.String(); got != strings.TrimPrefix(want, "\n") {
				t.Errorf("%s is\n%s\nwant%s", f, got, want)
			}
		}
	}
}

func TestEmptyList(t *testing.T) {
	for f, want := range map[format]string{
		"table": "+------+------+\n| NAME | NOTE |\n+------+------+\n", "compact": "NAME  NOTE\n", "csv": "", "json": "[]\n", "yaml": "[]\n",
	} {
		var b bytes.Buffer
		if err := list(&b, f, nil, thingColumns); err != nil || b.String() != want {
			t.Errorf("%s is %q %v, want %q", f, b.String(), err, want)
		}
	}
}

func TestShowAsTable(t *testing.T) {
	var b bytes.Buffer
	if err := show(&b, "compact", things[0]); err != nil {
		t.Fatal(err)
	}
	want := `FIELD     VALUE
name      web10
note      a <b> & "c"
number    1152921504606846976
config.k  true
config.z  1.10
empty     null
`
	if b.String() != want {
		t.Errorf("is\n%s\nwant\n%s", b.String(), want)
	}
}

func TestYAMLComesBack(t *testing.T) {
	for _, v := range things {
		var b bytes.Buffer
		if err := writeYAML(&b, v); err != nil {
			t.Fatal(err)
		}
		var got thing
		if err := readYAML(b.Bytes(), &got, nil, ""); err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("%+v comes back as %+v, %v", v, got, err)
		}
	}
	for bad, want := range map[string]string{
		"nam: x": `unknown field "nam"`, "- a": "lines", "": "lines", "a: [": "not YAML", "number: x": "number can't be a string", "name: 1": "name can't be a number", "1: x": "unknown field",
		"name: a\nname: b": "twice", "config: {a: &x b, c: *x}": "aliases", "? [a]\n: b": "not text", "config: {a: [b]}": "array",
	} {
		var v thing
		if err := readYAML([]byte(bad), &v, nil, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", bad, err, want)
		}
	}
}

func TestAddressesInYAML(t *testing.T) {
	for text, want := range map[string]string{
		"address: x": `"x" is not an IP address`, "dynamic: 192.0.2.1": `"192.0.2.1" is not a prefix, such as 192.0.2.0/24`, "dynamic: 192.0.2.0/33": `"192.0.2.0/33" is not a prefix, such as 192.0.2.0/24`,
	} {
		var put api.BGPPeerPut
		if err := readYAML([]byte(text), &put, nil, ""); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestConfigValuesAreText(t *testing.T) {
	var got thing
	err := readYAML([]byte("number: 0x10\nconfig:\n  a: 1.10\n  b: 2026-01-01\n  c: true\n  d: 0123\n  e: '5'\n  f: no\n"), &got, nil, "")
	want := thing{Number: 16, Config: map[string]string{"a": "1.10", "b": "2026-01-01", "c": "true", "d": "0123", "e": "5", "f": "no"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v, want %+v", got, err, want)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 1500 * time.Millisecond: "2s", 59 * time.Second: "59s", 61 * time.Second: "1m 1s", 3 * time.Hour: "3h 0m", 50 * time.Hour: "2d 2h",
	} {
		if got := ago(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1536: "1.50KiB", 3 << 30: "3.00GiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestNatural(t *testing.T) {
	want := []string{"", "a", "a1", "a2", "a10", "a10b", "b", "web-2", "web-03", "web-10"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, natural)
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
