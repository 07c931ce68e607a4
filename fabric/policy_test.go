package fabric_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"netfabric/fabric"
)

// policyRules reads rules as the API has them.
func policyRules(t *testing.T, text string) []fabric.PolicyRule {
	t.Helper()
	var all []fabric.PolicyRule
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return all
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func TestPolicyDecides(t *testing.T) {
	dns := fabric.PolicyRoute{Prefix: prefix("203.0.113.53/32"), Kind: fabric.AnnounceAnycast, Owner: fabric.Key{Kind: fabric.KindAnycast, Name: "dns"}}
	web := fabric.PolicyRoute{Prefix: prefix("2001:db8:10::5/128"), Kind: fabric.AnnounceInstance, Owner: fabric.Key{Kind: fabric.KindInstance, Name: "web1"},
		Labels: fabric.Config{"user.tier": "gold", "user.empty": ""}}
	net := fabric.PolicyRoute{Prefix: prefix("10.50.0.0/24"), Kind: fabric.AnnounceNetwork, Owner: fabric.Key{Kind: fabric.KindNetwork, Name: "br0"}}
	lan := fabric.PolicyRoute{Prefix: prefix("198.51.100.0/24"), Kind: fabric.AnnounceGateway, Owner: fabric.Key{Kind: fabric.KindGateway, Name: "lan"}}
	if d := (&fabric.Policy{Rules: policyRules(t, `[{"match":{"kinds":["gateway"],"owners":["gateway/lan"]},"action":"accept"}]`)}).Decider(); !d.Decide(lan).Accept || d.Decide(net).Accept {
		t.Errorf("a gateway's subnet: %+v, a network's: %+v", d.Decide(lan), d.Decide(net))
	}
	foreign := fabric.PolicyRoute{Prefix: prefix("0.0.0.0/0"), ASPath: []uint32{65001, 3320, 65550}, NextHop: netip.MustParseAddr("192.0.2.1"),
		Communities: []fabric.Community{{Numbers: [3]uint32{65001, 7}}, {Large: true, Numbers: [3]uint32{4200000000, 1, 2}}}}
	direct := fabric.PolicyRoute{Prefix: prefix("2001:db8:77::/48"), ASPath: []uint32{650010}}
	all := map[string]fabric.PolicyRoute{"dns": dns, "web": web, "net": net, "foreign": foreign, "direct": direct}
	names := []string{"dns", "web", "net", "foreign", "direct"}
	for _, c := range []struct{ name, rules, want string }{
		{"no rule", `[]`, "dns:0- web:0- net:0- foreign:0- direct:0-"},
		{"everything", `[{"action":"accept"}]`, "dns:1+ web:1+ net:1+ foreign:1+ direct:1+"},
		{"the first decides", `[{"match":{"kinds":["anycast"]},"action":"reject"},{"action":"accept"},{"match":{"family":"ipv6"},"action":"reject"}]`, "dns:1- web:2+ net:2+ foreign:2+ direct:2+"},
		{"family", `[{"match":{"family":"ipv6"},"action":"accept"}]`, "dns:0- web:1+ net:0- foreign:0- direct:1+"},
		{"two kinds", `[{"match":{"kinds":["network","instance"]},"action":"accept"}]`, "dns:0- web:1+ net:1+ foreign:0- direct:0-"},
		{"owner", `[{"match":{"owners":["anycast/dns","instance/none"]},"action":"accept"}]`, "dns:1+ web:0- net:0- foreign:0- direct:0-"},
		{"all conditions at once", `[{"match":{"owners":["anycast/dns"],"family":"ipv6"},"action":"accept"}]`, "dns:0- web:0- net:0- foreign:0- direct:0-"},
		{"label", `[{"match":{"labels":["user.tier=gold"]},"action":"accept"}]`, "dns:0- web:1+ net:0- foreign:0- direct:0-"},
		{"empty label is not absent", `[{"match":{"labels":["user.empty=","user.tier=gold"]},"action":"accept"}]`, "dns:0- web:1+ net:0- foreign:0- direct:0-"},
		{"one of two labels", `[{"match":{"labels":["user.tier=gold","user.tier=lead"]},"action":"accept"}]`, "dns:0- web:0- net:0- foreign:0- direct:0-"},
		{"exact prefixes", `[{"match":{"prefixes":["0.0.0.0/0","10.50.0.0/16"]},"action":"accept"}]`, "dns:0- web:0- net:0- foreign:1+ direct:0-"},
		{"le", `[{"match":{"prefixes":["10.50.0.0/16 le 24","2001:db8::/32 le 48"]},"action":"accept"}]`, "dns:0- web:0- net:1+ foreign:0- direct:1+"},
		{"ge", `[{"match":{"prefixes":["0.0.0.0/0 ge 25"]},"action":"accept"}]`, "dns:1+ web:0- net:0- foreign:0- direct:0-"},
		{"ge and le", `[{"match":{"prefixes":["0.0.0.0/0 ge 8 le 24"]},"action":"accept"}]`, "dns:0- web:0- net:1+ foreign:0- direct:0-"},
		{"one of two communities", `[{"match":{"communities":["65001:8","65001:7"]},"action":"accept"}]`, "dns:0- web:0- net:0- foreign:1+ direct:0-"},
		{"large community", `[{"match":{"communities":["4200000000:1:2"]},"action":"accept"}]`, "dns:0- web:0- net:0- foreign:1+ direct:0-"},
		{"AS path through", `[{"match":{"as_path":"_3320_"},"action":"accept"}]`, "dns:0- web:0- net:0- foreign:1+ direct:0-"},
		{"AS path is of whole numbers", `[{"match":{"as_path":"_65001_"},"action":"accept"}]`, "dns:0- web:0- net:0- foreign:1+ direct:0-"},
		{"AS path from", `[{"match":{"as_path":"^65001 .*65550$"},"action":"accept"}]`, "dns:0- web:0- net:0- foreign:1+ direct:0-"},
		{"one AS", `[{"match":{"as_path":"^[0-9]+$"},"action":"accept"}]`, "dns:0- web:0- net:0- foreign:0- direct:1+"},
		{"next hop", `[{"match":{"next_hops":["192.0.2.0/24"]},"action":"accept"}]`, "dns:0- web:0- net:0- foreign:1+ direct:0-"},
	} {
		p := &fabric.Policy{Header: fabric.Header{Name: "p"}, Rules: policyRules(t, c.rules)}
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []string
		d := p.Decider()
		for _, name := range names {
			x := d.Decide(all[name])
			verdict := map[bool]string{true: "+", false: "-"}[x.Accept]
			got = append(got, fmt.Sprintf("%s:%d%s", name, x.Rule, verdict))
			if !strings.Contains(x.Why, `policy "p"`) || !strings.Contains(x.Why, all[name].Prefix.String()) {
				t.Errorf("%s: %s is explained as %q", c.name, name, x.Why)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %s, want %s", c.name, strings.Join(got, " "), c.want)
		}
	}
}

func TestBuiltinPolicies(t *testing.T) {
	own := fabric.PolicyRoute{Prefix: prefix("10.50.0.0/24"), Kind: fabric.AnnounceGateway}
	foreign := fabric.PolicyRoute{Prefix: prefix("198.51.100.0/24")}
	four, six := fabric.PolicyRoute{Prefix: prefix("0.0.0.0/0")}, fabric.PolicyRoute{Prefix: prefix("::/0")}
	s := fabric.EmptySnapshot()
	for name, want := range map[string]string{"own": "true false false false", "all": "true true true true", "none": "false false false false", "default-only": "false false true true"} {
		p, ok := s.Policy(name)
		if !ok {
			t.Fatalf("no policy %q", name)
		}
		d := p.Decider()
		if got := fmt.Sprint(d.Decide(own).Accept, d.Decide(foreign).Accept, d.Decide(four).Accept, d.Decide(six).Accept); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestPolicyIsRefused(t *testing.T) {
	for _, c := range []struct{ rules, says string }{
		{`[{"match":{"kinds":["forward"]},"action":"accept"}]`, `rule 1: kind "forward" does not exist: want network, instance, anycast or gateway`},
		{`[{"match":{"kinds":["load-balancer"]},"action":"accept"}]`, `rule 1: kind "load-balancer" does not exist: want network, instance, anycast or gateway`},
		{`[{"match":{"owners":["load-balancer/web"]},"action":"accept"}]`, "network/NAME, instance/NAME, anycast/NAME or gateway/NAME"},
		{`[{"action":"accept"},{"action":"permit"}]`, `rule 2: action "permit"`},
		{`[{"action":"reject","set":{"med":1}}]`, "nothing to set"},
		{`[{"match":{"family":"v4"},"action":"accept"}]`, `family "v4"`},
		{`[{"match":{"family":"ipv4","prefixes":["2001:db8::/32"]},"action":"accept"}]`, "2001:db8::/32"},
		{`[{"match":{"owners":["dns"]},"action":"accept"}]`, `owner "dns"`},
		{`[{"match":{"owners":["pool/x"]},"action":"accept"}]`, `owner "pool/x"`},
		{`[{"match":{"labels":["tier=gold"]},"action":"accept"}]`, `label "tier=gold"`},
		{`[{"match":{"as_path":"("},"action":"accept"}]`, "regular expression"},
		{`[{"action":"accept","set":{"prepend":33}}]`, "0-32"},
		{`[{"action":"accept","set":{"next_hop":"192.0.2.1"}}]`, "set family: ipv4"},
		{`[{"match":{"family":"ipv6"},"action":"accept","set":{"next_hop":"::1"}}]`, "::1"},
		{`[{"action":"accept","set":{"add_communities":["no-export"],"remove_communities":["65535:65281"]}}]`, "both added and removed"},
	} {
		p := &fabric.Policy{Header: fabric.Header{Name: "p"}, Rules: policyRules(t, c.rules)}
		if err := p.Validate(); fabric.ReasonOf(err) != "bad-rule" || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.rules, err, c.says)
		}
	}
	for _, text := range []string{`["10.0.0.1/8"]`, `["10.0.0.0/8 ge 7"]`, `["10.0.0.0/8 le 33"]`, `["10.0.0.0/8 ge 24 le 16"]`, `["10.0.0.0/8 le"]`, `["10.0.0.0/8 le 9 le 10"]`, `[""]`} {
		var all []fabric.PrefixRange
		if err := json.Unmarshal([]byte(text), &all); err == nil {
			t.Errorf("prefixes %s are taken: %v", text, all)
		}
	}
	for _, text := range []string{`["65536:1"]`, `["1"]`, `["1:2:3:4"]`, `["01:2"]`, `["a:b"]`, `["noexport"]`, `["1:4294967296:1"]`} {
		var all []fabric.Community
		if err := json.Unmarshal([]byte(text), &all); err == nil {
			t.Errorf("communities %s are taken: %v", text, all)
		}
	}
	for text, want := range map[string]string{"10.0.0.0/8 ge 8 le 8": "10.0.0.0/8", "10.0.0.0/8 ge 24": "10.0.0.0/8 ge 24", "10.0.0.0/8  le 32": "10.0.0.0/8 le 32", "::/0 ge 1 le 48": "::/0 ge 1 le 48", "192.0.2.1": "192.0.2.1/32"} {
		r, err := fabric.ParsePrefixRange(text)
		if again, e := fabric.ParsePrefixRange(r.String()); err != nil || e != nil || r.String() != want || again != r {
			t.Errorf("%q is %q (%v, %v), want %q", text, r, err, e, want)
		}
	}
}

func TestPoliciesOfPeers(t *testing.T) {
	s := world(t)
	policy := func(name, text string) *fabric.Policy {
		return &fabric.Policy{Header: fabric.Header{Name: name}, Rules: policyRules(t, text)}
	}
	peer := func(in, out string) *fabric.Peer {
		return &fabric.Peer{Header: fabric.Header{Name: "r1"}, Address: netip.MustParseAddr("192.0.2.9"), ASN: 65000, Import: in, Export: out}
	}
	s = write(t, s, policy("ix", `[{"match":{"kinds":["anycast"]},"action":"accept"}]`), policy("in", `[{"match":{"as_path":"_1_"},"action":"accept"}]`), peer("in", "ix"))
	for _, c := range []struct {
		name   string
		change func(*fabric.Tx) error
		reason string
	}{
		{"built-in policy made anew", func(tx *fabric.Tx) error { return tx.Put(policy("own", `[]`)) }, "builtin-policy"},
		{"policy in use", func(tx *fabric.Tx) error { return tx.Delete(fabric.Key{Kind: fabric.KindPolicy, Name: "ix"}) }, "in-use"},
		{"policy that is not there", func(tx *fabric.Tx) error { return tx.Put(peer("", "nope")) }, "missing-reference"},
		{"import policy for export", func(tx *fabric.Tx) error { return tx.Put(peer("", "in")) }, "policy-direction"},
		{"export policy for import", func(tx *fabric.Tx) error { return tx.Put(peer("ix", "")) }, "policy-direction"},
		{"link bandwidth for import", func(tx *fabric.Tx) error {
			if err := tx.Put(policy("heavy", `[{"action":"accept","set":{"link_bandwidth":100}}]`)); err != nil {
				return err
			}
			return tx.Put(peer("heavy", ""))
		}, "policy-direction"},
		{"own for import", func(tx *fabric.Tx) error { return tx.Put(peer("own", "")) }, "policy-direction"},
		{"policy in use turned around", func(tx *fabric.Tx) error {
			return tx.Put(policy("ix", `[{"match":{"as_path":"_1_"},"action":"accept"}]`))
		}, "policy-direction"},
		{"built-in ones", func(tx *fabric.Tx) error { return tx.Put(peer("default-only", "own")) }, ""},
		{"no policy", func(tx *fabric.Tx) error { return tx.Put(peer("", "")) }, ""},
	} {
		if _, err := change(s, c.change); fabric.ReasonOf(err) != c.reason {
			t.Errorf("%s: %v, want reason %q", c.name, err, c.reason)
		}
	}
}
