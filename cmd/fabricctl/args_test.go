package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"netfabric/fabric/api"

	"github.com/spf13/cobra"
)

func TestOperands(t *testing.T) {
	for use, want := range map[string][]operand{
		"list":                              nil,
		"launch IMAGE NAME":                 {{name: "IMAGE"}, {name: "NAME"}},
		"set [NAME] KEY=VALUE...":           {{name: "NAME", optional: true}, {name: "KEY=VALUE", repeated: true}},
		"create NAME DRIVER [KEY=VALUE...]": {{name: "NAME"}, {name: "DRIVER"}, {name: "KEY=VALUE", optional: true, repeated: true}},
		"exec NAME -- COMMAND...":           {{name: "NAME"}, {name: "COMMAND", repeated: true}},
	} {
		if got := operands(use); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", use, got, want)
		}
	}
}

func TestArity(t *testing.T) {
	for _, c := range []struct{ use, args, want string }{
		{"list", "", ""},
		{"list", "a", `unexpected argument "a"`},
		{"launch IMAGE NAME", "", "IMAGE and NAME are missing"},
		{"launch IMAGE NAME", "a", "NAME is missing"},
		{"launch IMAGE NAME", "a b", ""},
		{"launch IMAGE NAME", "a b c", `unexpected argument "c"`},
		{"show [NAME]", "", ""},
		{"show [NAME]", "a b", `unexpected argument "b"`},
		{"delete NAME...", "", "NAME is missing"},
		{"delete NAME...", "a b c d", ""},
		{"create NAME DRIVER [KEY=VALUE...]", "a b c=d e=f g=h", ""},
	} {
		cmd := &cobra.Command{Use: c.use}
		err := arity(cmd, strings.Fields(c.args))
		got := ""
		if err != nil {
			got = err.(*usageError).message
		}
		if got != c.want {
			t.Errorf("%s with %q: %q, want %q", c.use, c.args, got, c.want)
		}
	}
}

func TestNamed(t *testing.T) {
	for line, want := range map[string][]string{ // name, then what is set
		"core.bgp_asn=65000":                     {"", "core.bgp_asn=65000"},
		"core.bgp_asn=65000 user.x=y":            {"", "core.bgp_asn=65000", "user.x=y"},
		"core.bgp_asn 65000":                     {"", "core.bgp_asn=65000"},
		"core.bgp_asn":                           {"", "core.bgp_asn"},
		"user.x y":                               {"", "user.x=y"},
		"web1 limits.memory=1GiB":                {"web1", "limits.memory=1GiB"},
		"web1 limits.memory=1GiB user.x=y":       {"web1", "limits.memory=1GiB", "user.x=y"},
		"web1 limits.memory 1GiB":                {"web1", "limits.memory=1GiB"},
		"web1 user.equation a=b":                 {"web1", "user.equation=a=b"},
		"web1 limits.memory":                     {"web1", "limits.memory"},
		"web1":                                   {"web1"},
		"web1 limits.memory=1GiB limits.cpu bad": {"web1", "limits.memory=1GiB", "limits.cpu", "bad"},
	} {
		name, rest := named(strings.Fields(line), isServerKey)
		if got := append([]string{name}, rest...); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func TestAssignments(t *testing.T) {
	a := &app{in: strings.NewReader("two\nlines\n")}
	got, err := a.config(&cobra.Command{}, []string{"a=b", "c=", "d=e=f", "text=-"})
	want := map[string]string{"a": "b", "c": "", "d": "e=f", "text": "two\nlines"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q %v, want %q", got, err, want)
	}
	for _, bad := range [][]string{{"a"}, {"=b"}, {"a=1", "a=2"}, {""}} {
		if got, err := a.config(&cobra.Command{}, bad); err == nil {
			t.Errorf("%q is %q", bad, got)
		}
	}
}

func TestDeviceFlags(t *testing.T) {
	got, err := deviceFlags(&cobra.Command{}, []string{"eth0,network=lan0,hwaddr=00:16:3e:00:00:01", "root,pool=fast", "eth0,name=lan"})
	want := map[string]map[string]string{"eth0": {"network": "lan0", "hwaddr": "00:16:3e:00:00:01", "name": "lan"}, "root": {"pool": "fast"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %v, want %v", got, err, want)
	}
	for _, bad := range []string{"eth0", "", ",a=b", "a=b,c=d", "eth0,network", "eth0,=b", "eth0,a=b,"} {
		if got, err := deviceFlags(&cobra.Command{}, []string{bad}); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

func TestParseCheck(t *testing.T) {
	for s, want := range map[string]api.AnycastCheck{
		"process":          {Type: "process"},
		"tcp:53":           {Type: "tcp", Port: 53},
		"http:80":          {Type: "http", Port: 80},
		"http:80/":         {Type: "http", Port: 80, Path: "/"},
		"http:8080/a/b?c":  {Type: "http", Port: 8080, Path: "/a/b?c"},
		"https:443/ok":     {Type: "https", Port: 443, Path: "/ok"},
		"dns:53/a.example": {Type: "dns", Port: 53, Name: "a.example"},
		"dns:53/.":         {Type: "dns", Port: 53, Name: "."},
	} {
		got, err := parseCheck(s, api.AnycastCheck{})
		if err != nil || got != want {
			t.Errorf("%s: %+v %v, want %+v", s, got, err, want)
		}
	}
	for _, bad := range []string{"", "tcp", "tcp:", "tcp:0", "tcp:65536", "tcp:x", "tcp:-1", "tcp:53/path", "process:1", "udp:53", "http:/health", "dns:53", "dns:53/", "https", "dns:/example.com"} {
		if got, err := parseCheck(bad, api.AnycastCheck{}); err == nil {
			t.Errorf("%q is %+v", bad, got)
		}
	}
}

func TestMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]int{0: 0, time.Second: 1000, 250 * time.Millisecond: 250} {
		if got, err := milliseconds(d); err != nil || got != want {
			t.Errorf("%v: %d %v, want %d", d, got, err, want)
		}
	}
	for _, bad := range []time.Duration{-time.Second, time.Microsecond, 1500 * time.Microsecond} {
		if got, err := milliseconds(bad); err == nil {
			t.Errorf("%v is %d", bad, got)
		}
	}
}

func TestMemberAddress(t *testing.T) {
	for s, want := range map[string]string{
		"192.0.2.1":          "192.0.2.1:8443",
		"192.0.2.1:9000":     "192.0.2.1:9000",
		"2001:db8::1":        "[2001:db8::1]:8443",
		"[2001:db8::1]":      "[2001:db8::1]:8443",
		"[2001:db8::1]:9000": "[2001:db8::1]:9000",
		"":                   "", "n1": "", "n1:8443": "", "192.0.2.1:0": "", "192.0.2.1:": "", "192.0.2.1:70000": "",
	} {
		cmd := &cobra.Command{}
		read := addressFlag(cmd)
		if err := cmd.Flags().Set("address", s); err != nil {
			t.Fatal(err)
		}
		got, err := read()
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v, want %q", s, got, err, want)
		}
	}
}

func TestNearest(t *testing.T) {
	verbs := []string{"create", "delete", "edit", "get", "list", "list-leases", "set", "show"}
	for typed, want := range map[string]string{"lst": "list", "lists": "list", "craete": "create", "sho": "show", "del": "delete", "x": "", "frobnicate": "", "LIST": "list"} {
		if got := nearest(typed, verbs); got != want {
			t.Errorf("%s: %q, want %q", typed, got, want)
		}
	}
}
