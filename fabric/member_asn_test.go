package fabric_test

import (
	"fmt"
	"strings"
	"testing"

	"netfabric/fabric"
)

// racked is a cluster of three members: n1 and n2 in racks, n3 in none.
func racked(t *testing.T, config fabric.Config) *fabric.Snapshot {
	t.Helper()
	s := write(t, fabric.EmptySnapshot(), &fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: config})
	for i, domain := range []string{"rack1", "rack2", ""} {
		s = write(t, s, &fabric.Member{
			Header: fabric.Header{Name: fmt.Sprintf("n%d", i+1)}, Address: fmt.Sprintf("192.0.2.%d:8443", i+1), FailureDomain: domain, Number: i + 1,
			Certificate: strings.Replace(testCertificate, "AAAA", strings.Repeat(string(rune('B'+i)), 4), 1),
		})
	}
	return s
}

func TestASNOfMembers(t *testing.T) {
	for _, c := range []struct {
		config fabric.Config
		own    string // of n2
		want   string
	}{
		{fabric.Config{}, "", "0 0 0"},
		{fabric.Config{"core.bgp_asn": "65000"}, "", "65000 65000 65000"},
		{fabric.Config{"core.bgp_asn": "65000", "bgp.asn_by_failure_domain": "rack1=65101, rack2=65102"}, "", "65101 65102 65000"},
		{fabric.Config{"bgp.asn_by_failure_domain": "default=65103"}, "", "0 0 65103"},
		{fabric.Config{"core.bgp_asn": "65000", "bgp.asn_template": "4200000000+number"}, "", "4200000001 4200000002 4200000003"},
		{fabric.Config{"bgp.asn_by_failure_domain": "rack1=65101", "bgp.asn_template": "4200000000+number"}, "65199", "65101 65199 4200000003"},
	} {
		s := racked(t, c.config)
		if c.own != "" {
			m, _ := s.Member("n2")
			m = fabric.Clone(m)
			m.Config = fabric.Config{"bgp.asn": c.own}
			s = write(t, s, m)
		}
		if got := fmt.Sprintf("%d %d %d", s.ASN("n1"), s.ASN("n2"), s.ASN("n3")); got != c.want {
			t.Errorf("%v: %s, want %s", c.config, got, c.want)
		}
	}
}

func TestTemplateNeedsNumbersThatAreGood(t *testing.T) {
	s := racked(t, fabric.Config{})
	for template, reason := range map[string]string{"65533+number": "bad-asn", "4294967292+number": "bad-asn", "65000+number": ""} {
		_, err := change(s, func(tx *fabric.Tx) error {
			return tx.Put(&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: fabric.Config{"bgp.asn_template": template}})
		})
		if fabric.ReasonOf(err) != reason {
			t.Errorf("%s: %v, want reason %q", template, err, reason)
		}
	}
	if n := s.FreeMemberNumber(); n != 4 {
		t.Errorf("the next number is %d", n)
	}
}

// Members that joined before there were numbers have none, until a template needs them.
func TestTemplateNumbersMembers(t *testing.T) {
	s := racked(t, fabric.Config{"core.bgp_asn": "65000"})
	for _, name := range []string{"n1", "n3"} {
		m, _ := s.Member(name)
		m = fabric.Clone(m)
		m.Number = 0
		s = write(t, s, m)
	}
	numbers := func(s *fabric.Snapshot) string {
		var all []string
		for _, m := range s.Members() {
			all = append(all, fmt.Sprint(m.Number))
		}
		return strings.Join(all, " ")
	}
	if got := numbers(s); got != "0 2 0" {
		t.Fatalf("numbers are %s", got)
	}
	next, err := change(s, func(tx *fabric.Tx) error {
		return tx.Put(&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}, Config: fabric.Config{"bgp.asn_template": "65000+number"}})
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := numbers(next); got != "1 2 3" || next.ASN("n1") != 65001 || next.ASN("n3") != 65003 {
		t.Errorf("numbers are %s, n1 has AS number %d", got, next.ASN("n1"))
	}
	if got := numbers(s); got != "0 2 0" {
		t.Errorf("the snapshot before has numbers %s now", got)
	}
}

func TestGroupsSelectMembers(t *testing.T) {
	s := write(t, racked(t, fabric.Config{}), &fabric.Group{Header: fabric.Header{Name: "edge"}})
	m, _ := s.Member("n2")
	m = fabric.Clone(m)
	m.SetGroups([]string{"edge", "default", "edge"})
	s = write(t, s, m)
	for selector, want := range map[string]string{
		"group:edge": "n2", "group:default": "n1 n2 n3", "failure_domain:rack1": "n1", "n3": "n3", "failure_domain:default": "n3",
	} {
		p := fabric.Peer{Members: []string{selector}}
		var on []string
		for _, m := range s.Members() {
			if p.On(s, m.Name) {
				on = append(on, m.Name)
			}
		}
		if got := strings.Join(on, " "); got != want {
			t.Errorf("%s: %s, want %s", selector, got, want)
		}
	}
	if _, err := change(s, func(tx *fabric.Tx) error { return tx.Delete(fabric.Key{Kind: fabric.KindGroup, Name: "edge"}) }); fabric.ReasonOf(err) != "in-use" {
		t.Errorf("a group with a member in it was deleted: %v", err)
	}
	m = fabric.Clone(m)
	if m.SetGroups(nil); !m.InGroup(fabric.DefaultGroup) || m.Groups != nil {
		t.Errorf("%v", m.Groups)
	}
}

func TestListenAddress(t *testing.T) {
	for value, want := range map[string]string{
		"192.0.2.11": "192.0.2.11:179", "192.0.2.11:1179": "192.0.2.11:1179", "2001:db8::11": "[2001:db8::11]:179", "[::]:1179": "[::]:1179", "0.0.0.0": "0.0.0.0:179",
		"none": "invalid AddrPort", "foo": "", ":179": "", "192.0.2.11:0": "", "192.0.2.11/24": "", "fe80::1%eth1": "", "224.0.0.5": "",
	} {
		m := &fabric.Member{Header: fabric.Header{Name: "n1"}, Address: "192.0.2.1:8443", Certificate: testCertificate, Config: fabric.Config{"core.bgp_address": value}}
		at, err := fabric.ParseListen(value)
		if refused := m.Validate() != nil; refused != (want == "") || refused != (err != nil) {
			t.Errorf("%s: refused %v, %v", value, refused, err)
		}
		if err == nil && at.String() != want {
			t.Errorf("%s: %s, want %s", value, at, want)
		}
	}
}
