package vrrp

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// settings is a kernel of files.
type settings struct {
	t    *testing.T
	root string
}

func newSettings(t *testing.T, values map[string]string) settings {
	t.Helper()
	s := settings{t, t.TempDir()}
	for path, value := range values {
		file := filepath.Join(s.root, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s settings) want(what string, values map[string]string) {
	s.t.Helper()
	for path, want := range values {
		b, err := os.ReadFile(filepath.Join(s.root, path))
		if got := strings.TrimSpace(string(b)); err != nil || got != want {
			s.t.Errorf("%s: %s is %q (%v), want %q", what, path, got, err, want)
		}
	}
}

func (s settings) keeper(file string) *keeper {
	s.t.Helper()
	k, err := openKeeper(s.root, file)
	if err != nil {
		s.t.Fatal(err)
	}
	return k
}

func (k *keeper) must(t *testing.T, want []sysctl, forward6 []string, prune bool) {
	t.Helper()
	if err := k.apply(setup{sysctls: want, forward6: forward6}, prune); err != nil {
		t.Fatal(err)
	}
}

// What was there before is put back, also by a process that did not change it, and not where somebody else has changed it since.
func TestSettingsArePutBack(t *testing.T) {
	before := map[string]string{
		"net/ipv4/conf/all/rp_filter": "0", "net/ipv4/conf/all/forwarding": "0", "net/ipv4/conf/eth1/forwarding": "0", "net/ipv4/conf/eth1/rp_filter": "1",
		"net/ipv4/conf/eth2/forwarding": "1", "net/ipv4/conf/eth2/rp_filter": "0", "net/ipv6/conf/eth1/force_forwarding": "0",
	}
	s, file := newSettings(t, before), filepath.Join(t.TempDir(), "sysctls.json")
	want := []sysctl{
		{path: "net/ipv4/conf/eth1/forwarding", value: "1"}, {path: "net/ipv4/conf/eth1/rp_filter", value: "2", loose: true},
		{path: "net/ipv4/conf/eth2/forwarding", value: "1"}, {path: "net/ipv4/conf/eth2/rp_filter", value: "2", loose: true},
		{path: "net/ipv4/conf/eth9/forwarding", value: "1"}, // an interface that is not there
	}
	k := s.keeper(file)
	for range 2 { // a repeat must not take our own values for those of before
		k.must(t, want, []string{"eth1"}, true)
	}
	changed := map[string]string{
		"net/ipv4/conf/eth1/forwarding": "1", "net/ipv4/conf/eth1/rp_filter": "2", "net/ipv4/conf/eth2/forwarding": "1",
		"net/ipv4/conf/eth2/rp_filter": "0", "net/ipv6/conf/eth1/force_forwarding": "1",
	}
	s.want("with gateways", changed)
	k = s.keeper(file) // after a crash
	k.must(t, nil, nil, false)
	s.want("before it is known what is wanted", changed)
	k.must(t, want[:1], nil, true)
	s.want("with one gateway less", map[string]string{"net/ipv4/conf/eth1/forwarding": "1", "net/ipv4/conf/eth1/rp_filter": "1", "net/ipv6/conf/eth1/force_forwarding": "0"})
	k.must(t, nil, nil, true)
	s.want("without gateways", before)

	k.must(t, want[:2], nil, true)
	if err := os.WriteFile(filepath.Join(s.root, want[1].path), []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	k.must(t, nil, nil, true)
	s.want("changed by somebody else", map[string]string{want[1].path: "0", want[0].path: "0"})
	k.must(t, want[:1], nil, true)
	if err := os.WriteFile(filepath.Join(s.root, "net/ipv4/conf/all/forwarding"), []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	k.must(t, nil, nil, true)
	s.want("everything forwards since", map[string]string{want[0].path: "1"})
}

// Settings of another boot are not put back, and a broken file is told of.
func TestSettingsOfAnotherBoot(t *testing.T) {
	s, file := newSettings(t, map[string]string{"net/ipv4/conf/eth1/forwarding": "1"}), filepath.Join(t.TempDir(), "sysctls.json")
	old := `{"where":"yesterday","changed":{"net/ipv4/conf/eth1/forwarding":{"before":"0","set":"1"}}}`
	if err := os.WriteFile(file, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	s.keeper(file).must(t, nil, nil, true)
	s.want("of another boot", map[string]string{"net/ipv4/conf/eth1/forwarding": "1"})
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openKeeper(s.root, file); err == nil {
		t.Error("half a file was read without complaint")
	}
}

// Before Linux 6.17 all interfaces forward, or none. Those that have their default route from router advertisements keep it.
func TestForwardingOfOldKernels(t *testing.T) {
	before := map[string]string{
		"net/ipv6/conf/all/forwarding": "0", "net/ipv6/conf/all/accept_ra": "1", "net/ipv6/conf/default/accept_ra": "1",
		"net/ipv6/conf/eth1/forwarding": "0", "net/ipv6/conf/eth1/accept_ra": "1", "net/ipv6/conf/eth2/accept_ra": "0", "net/ipv6/conf/eth3/accept_ra": "2",
	}
	s := newSettings(t, before)
	k := s.keeper("")
	for range 2 {
		k.must(t, nil, []string{"eth1"}, true)
		s.want("forwarding", map[string]string{
			"net/ipv6/conf/all/forwarding": "1", "net/ipv6/conf/all/accept_ra": "1", "net/ipv6/conf/default/accept_ra": "1",
			"net/ipv6/conf/eth1/accept_ra": "2", "net/ipv6/conf/eth2/accept_ra": "0", "net/ipv6/conf/eth3/accept_ra": "2",
		})
	}
}

// An uplink stays one when its default route goes, also for another process, until the interface or the last gateway does.
func TestUplinksStay(t *testing.T) {
	before := map[string]string{}
	for _, name := range []string{"all", "eth0", "eth1", "eth2"} {
		before[confPath("ipv4", name, "forwarding")], before[confPath("ipv4", name, "rp_filter")] = "0", "0"
	}
	s, file := newSettings(t, before), filepath.Join(t.TempDir(), "sysctls.json")
	gateway := func(uplinks ...string) setup {
		return setupOf(map[routerKey]Gateway{{"eth0", IPv4, 51}: {Interface: "eth0", Uplinks: uplinks, Accept: true}})
	}
	apply := func(k *keeper, s setup, prune bool) {
		t.Helper()
		s.sysctls = slices.DeleteFunc(s.sysctls, func(c sysctl) bool { return strings.Contains(c.path, "arp_") })
		if err := k.apply(s, prune); err != nil {
			t.Fatal(err)
		}
	}
	forwards := func(what string, want ...string) {
		t.Helper()
		for _, name := range []string{"eth0", "eth1", "eth2"} {
			values := map[string]string{confPath("ipv4", name, "forwarding"): "0"}
			if slices.Contains(want, name) {
				values[confPath("ipv4", name, "forwarding")] = "1"
			}
			s.want(what, values)
		}
	}
	k := s.keeper(file)
	apply(k, gateway("eth1"), true)
	forwards("with an uplink", "eth0", "eth1")
	apply(k, gateway("eth2"), true)
	forwards("with another one", "eth0", "eth1", "eth2")
	k = s.keeper(file)
	apply(k, setup{}, false)
	apply(k, gateway(), true)
	forwards("another process, without default routes", "eth0", "eth1", "eth2")
	if err := os.RemoveAll(filepath.Join(s.root, "net/ipv4/conf/eth2")); err != nil {
		t.Fatal(err)
	}
	apply(k, gateway(), true)
	if !slices.Equal(k.uplinks, []string{"eth1"}) {
		t.Errorf("without the interface: %v", k.uplinks)
	}
	apply(k, setup{}, true)
	s.want("without gateways", map[string]string{confPath("ipv4", "eth1", "forwarding"): "0", confPath("ipv4", "eth0", "forwarding"): "0"})
	apply(s.keeper(file), gateway(), true)
	s.want("and with one again", map[string]string{confPath("ipv4", "eth1", "forwarding"): "0", confPath("ipv4", "eth0", "forwarding"): "1"})
}
