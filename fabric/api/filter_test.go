package api

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

func FuzzFilter(f *testing.F) {
	for _, seed := range []string{
		"", "name eq a", "not name eq a and b.c ne d or e eq f", `name eq "a b"`, "name eq (^a$|^b.*)", "name eq '", "a eq b and", "not not a eq b", "a.b.c eq 1", "x eq \x00",
	} {
		f.Add(seed)
	}
	object := []byte(`{"name":"a b","b":{"c":"d"},"a.b":{"c":1},"e":true,"l":["x","y"]}`)
	f.Fuzz(func(t *testing.T, s string) {
		parsed, err := parseFilter(s)
		if err != nil {
			if fabric.CodeOf(err) != fabric.CodeInvalid {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if (parsed == nil) != (strings.TrimSpace(s) == "") {
			t.Fatalf("%q gives %v", s, parsed)
		}
		if parsed == nil {
			return
		}
		holds := parsed.json(object)
		if len(parsed.anyOf) == 1 && len(parsed.anyOf[0]) == 1 {
			opposite, err := parseFilter("not " + s)
			if err != nil || opposite.json(object) == holds {
				t.Fatalf("%q and its opposite both hold, or don't: %v", s, err)
			}
		}
	})
}

func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"name":"a","config":{"a":"b"},"devices":{"d":{"type":"nic"}},"source":{"type":"image"}}`, `{"config":null}`, `[1]`, `{"name":{"name":1}}`, `"x"`, `{"a":1,"a":2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if checkJSON(data, reflect.TypeFor[InstancesPost]()) != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("%q passes and is no JSON", data)
		}
		var post InstancesPost
		if err := unmarshal(data, &post); err != nil && fabric.CodeOf(err) != fabric.CodeInvalid {
			t.Fatal(err)
		}
		// A patch with nothing in it changes nothing; one that passes can be applied.
		put := incusapi.ProfilePut{Description: "d", Config: incusapi.ConfigMap{"a": "b"}, Devices: incusapi.DevicesMap{"e": {"type": "nic"}}}
		if checkJSON(data, reflect.TypeFor[incusapi.ProfilePut]()) == nil {
			err := change{patch: true, data: data}.onto(&put)
			if err != nil && fabric.CodeOf(err) != fabric.CodeInvalid {
				t.Fatal(err)
			}
		}
	})
}

func TestMergeJSON(t *testing.T) {
	put := incusapi.ProfilePut{Description: "d", Config: incusapi.ConfigMap{"a": "b", "c": "d"}, Devices: incusapi.DevicesMap{"e": {"type": "nic", "network": "x"}, "f": {"type": "none"}}}
	must(t, change{patch: true, data: []byte(`{"config":{"a":"","x":"y"},"devices":{"e":{"type":"none"}}}`)}.onto(&put))
	want := incusapi.ProfilePut{Description: "d", Config: incusapi.ConfigMap{"a": "", "c": "d", "x": "y"}, Devices: incusapi.DevicesMap{"e": {"type": "none"}, "f": {"type": "none"}}}
	if !reflect.DeepEqual(put, want) {
		t.Fatalf("got %+v", put)
	}
}
