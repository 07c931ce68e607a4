package fabric

import (
	"fmt"
	"strconv"
	"strings"
)

// templateWord is what a template of AS numbers has in it for the number of the member.
const templateWord = "+number"

// memberASN is the AS number with which a member speaks BGP, and the config key that it comes from; 0 where there is none. The member's own goes
// first, then that of its failure domain, the template and the number of all members.
func (s *Snapshot) memberASN(m *Member) (asn uint64, key string) {
	c := s.Cluster()
	if n, err := strconv.ParseUint(MemberKeys.Get(m.Config, "bgp.asn"), 10, 32); err == nil {
		return n, "bgp.asn"
	}
	domains, _ := parseDomainASNs(ClusterKeys.Get(c.Config, "bgp.asn_by_failure_domain")) // validated with the config
	if n, ok := domains[m.Domain()]; ok {
		return uint64(n), "bgp.asn_by_failure_domain"
	}
	if base, err := parseASNTemplate(ClusterKeys.Get(c.Config, "bgp.asn_template")); err == nil {
		return base + uint64(m.Number), "bgp.asn_template"
	}
	if n := c.ASN(); n != 0 {
		return uint64(n), "core.bgp_asn"
	}
	return 0, ""
}

// ASN is the AS number with which a member speaks BGP; 0 where it has none.
func (s *Snapshot) ASN(member string) uint32 {
	asn, _ := s.ASNFrom(member)
	return asn
}

// ASNFrom is ASN with the config key that it comes from.
func (s *Snapshot) ASNFrom(member string) (asn uint32, key string) {
	m, ok := s.Member(member)
	if !ok {
		return s.Cluster().ASN(), "core.bgp_asn"
	}
	n, key := s.memberASN(m)
	return uint32(n), key
}

// checkASN makes sure that what the config makes of a member is an AS number.
func (m *Member) checkASN(next *Snapshot) error {
	asn, key := next.memberASN(m)
	switch {
	case key != "bgp.asn_template":
		return nil
	case asn > 4294967295 || reservedASN(uint32(asn)):
		return Invalidf("bad-asn", "bgp.asn_template makes %d of member %q, which is no AS number or reserved (RFC 7607, RFC 6793, RFC 7300)", asn, m.Name)
	}
	return nil
}

// numberMembers gives members a number that joined before there were any, as soon as there is a template that needs it.
func (tx *Tx) numberMembers() error {
	if ClusterKeys.Get(tx.next.Cluster().Config, "bgp.asn_template") == "" {
		return nil
	}
	for _, m := range tx.next.Members() {
		if m.Number != 0 {
			continue
		}
		m = Clone(m)
		m.Number = tx.next.FreeMemberNumber()
		if err := tx.Put(m); err != nil {
			return err
		}
	}
	return nil
}

// FreeMemberNumber is the lowest number that no member has, for a new one.
func (s *Snapshot) FreeMemberNumber() int {
	taken := map[int]bool{}
	for _, m := range s.Members() {
		taken[m.Number] = true
	}
	n := 1
	for taken[n] {
		n++
	}
	return n
}

// parseASNTemplate reads a template of AS numbers, such as 4200000000+number, and gives what is to be added to the number of a member.
func parseASNTemplate(v string) (base uint64, err error) {
	digits, ok := strings.CutSuffix(v, templateWord)
	if base, err = strconv.ParseUint(digits, 10, 32); !ok || err != nil {
		return 0, fmt.Errorf("want a number and %s, such as 4200000000%s", templateWord, templateWord)
	}
	return base, nil
}

// parseDomainASNs reads AS numbers by failure domain, such as rack1=65101,rack2=65102.
func parseDomainASNs(v string) (map[string]uint32, error) {
	all := map[string]uint32{}
	for _, field := range splitList(v) {
		domain, number, ok := strings.Cut(field, "=")
		domain = strings.TrimSpace(domain)
		n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 32)
		if !ok || domain == "" || err != nil {
			return nil, fmt.Errorf("%q is not DOMAIN=NUMBER", field)
		}
		if _, twice := all[domain]; twice {
			return nil, fmt.Errorf("failure domain %q is there twice", domain)
		}
		if reservedASN(uint32(n)) {
			return nil, fmt.Errorf("AS number %d is reserved (RFC 7607, RFC 6793, RFC 7300)", n)
		}
		all[domain] = uint32(n)
	}
	return all, nil
}
