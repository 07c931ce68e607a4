package fabric

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// Member is one host of the cluster.
type Member struct {
	Header
	Address       string   `json:"address"`          // host:port of its API and database
	Certificate   string   `json:"certificate"`      // PEM; what the member proves itself with to other members
	NodeID        uint64   `json:"node_id"`          // in the database; never used again after removal
	Number        int      `json:"number,omitempty"` // the lowest from 1 that was free when it joined; 0: it joined before there were any
	Voter         bool     `json:"voter,omitempty"`  // it has a vote in the database, as the leader of that has noted last
	Description   string   `json:"description,omitempty"`
	FailureDomain string   `json:"failure_domain,omitempty"`
	Groups        []string `json:"groups,omitempty"` // sorted; none is DefaultGroup
	Config        Config   `json:"config,omitempty"`
}

// DefaultFailureDomain is the failure domain of members that have no other.
const DefaultFailureDomain = "default"

// MemberKeys are the config keys of a member.
var MemberKeys = KeyTable{
	{"bgp.asn", ASN, "", ScopeMember, "AS number of this member, in place of what the cluster gives it"},
	{"core.bgp_routerid", Addr4, "", ScopeMember, "BGP identifier; by default the member's IPv4 address, or one made from its name"},
	{"core.bgp_address", Or(ValueType{"address[:port]", checkListen}, "none"), "none", ScopeMember, "Address (and optional port) on which to accept BGP sessions; none only dials"},
	{"bgp.drained", Bool, "false", ScopeMember, "Have peers prefer other members (bgp.drain_mode), then announce nothing, and hand over gateways; fabricctl bgp drain sets it"},
	{"bgp.drain_grace", Integer(0, 3600), "2", ScopeMember, "Seconds between that peers have been told of the graceful shutdown and the withdraw, at least"},
	{"bgp.drain_timeout", Integer(0, 3600), "20", ScopeMember, "Seconds after which everything is withdrawn although packets still arrive for what runs here"},
	{"bgp.drain_mode", OneOf(string(DrainGshut), string(DrainPrepend)), string(DrainGshut), ScopeMember, "How peers are told that the member shuts down: by the community GRACEFUL_SHUTDOWN, or by a longer path (prepend) where they don't know it"},
	{"scheduler.instance", OneOf("all", "manual"), "all", ScopeMember, "Whether instances are placed here without being told to (manual: only with a target)"},
	{"user.*", Text, "", ScopeMember, "Free for your own use"},
}

// ParseListen reads an address on which to accept BGP sessions: ADDRESS, or ADDRESS:PORT. The zero value is for none.
func ParseListen(v string) (netip.AddrPort, error) {
	if v == "none" {
		return netip.AddrPort{}, nil
	}
	at, err := netip.ParseAddrPort(v)
	if a, e := netip.ParseAddr(v); e == nil {
		at, err = netip.AddrPortFrom(a, BGPPort), nil
	}
	if err != nil || at.Port() == 0 || at.Addr().Zone() != "" || at.Addr().Is4In6() || at.Addr().IsMulticast() {
		return netip.AddrPort{}, fmt.Errorf("want an address of this member, and a port if it is not %d, such as 192.0.2.11 or [2001:db8::11]:1179", BGPPort)
	}
	return at, nil
}

func checkListen(v string) error {
	_, err := ParseListen(v)
	return err
}

// Drain is how the member is to leave its BGP peers, nil while it is not.
func (m *Member) Drain() *MemberDrain {
	if !ParseBool(MemberKeys.Get(m.Config, "bgp.drained")) {
		return nil
	}
	milliseconds := func(key string) int {
		seconds, _ := strconv.Atoi(MemberKeys.Get(m.Config, key)) // validated with the member
		return 1000 * seconds
	}
	return &MemberDrain{
		Grace: milliseconds("bgp.drain_grace"), Timeout: milliseconds("bgp.drain_timeout"), Mode: DrainMode(MemberKeys.Get(m.Config, "bgp.drain_mode")),
	}
}

// Drained tells whether a member is to be led around: it announces nothing by BGP, and gateways are with it only while nobody else is there.
func (s *Snapshot) Drained(member string) bool {
	m, ok := s.Member(member)
	return ok && m.Drain() != nil
}

// Kind is KindMember.
func (*Member) Kind() Kind { return KindMember }

// Validate checks name, address, certificate and config.
func (m *Member) Validate() error {
	if err := CheckName("member", m.Name); err != nil {
		return err
	}
	if _, err := netip.ParseAddrPort(m.Address); err != nil {
		return Invalidf("bad-address", "member %q: address %q is not ADDRESS:PORT", m.Name, m.Address)
	}
	if m.Fingerprint() == "" {
		return Invalidf("bad-certificate", "member %q: its certificate is not PEM", m.Name)
	}
	return MemberKeys.Check("member "+m.Name, m.Config)
}

// Domain is the failure domain of the member.
func (m *Member) Domain() string { return cmp.Or(m.FailureDomain, DefaultFailureDomain) }

// Refs names the groups.
func (m *Member) Refs() []Key { return m.groupRefs() }

// check makes sure that the member has an AS number where it is made one, and that no two BGP peers have one address on it: its failure domain
// may select peers.
func (m *Member) check(next *Snapshot) error {
	if err := m.checkASN(next); err != nil {
		return err
	}
	for _, p := range next.Peers() {
		if p.selects(m) {
			if err := p.check(next); err != nil {
				return err
			}
		}
	}
	return nil
}

// Claims holds address, certificate and number.
func (m *Member) Claims() []Claim {
	claims := []Claim{{"member-address", m.Address}, {"member-certificate", m.Fingerprint()}}
	if m.Number != 0 {
		claims = append(claims, Claim{"member-number", strconv.Itoa(m.Number)})
	}
	return claims
}

// Fingerprint is the SHA-256 of the certificate in hex, empty if it is not PEM.
func (m *Member) Fingerprint() string { return Fingerprint(m.Certificate) }

// IP is the address without its port.
func (m *Member) IP() netip.Addr {
	ap, _ := netip.ParseAddrPort(m.Address)
	return ap.Addr()
}

// Fingerprint is the SHA-256 in hex of the first PEM block of a certificate, empty if there is none.
func Fingerprint(certificate string) string {
	block, _ := pem.Decode([]byte(certificate))
	if block == nil {
		return ""
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:])
}

// Certificate is a client that may use the API. Its name is the fingerprint.
type Certificate struct {
	Header
	PEM         string `json:"certificate"`
	Label       string `json:"label"`
	Description string `json:"description,omitempty"`
}

// Kind is KindCertificate.
func (*Certificate) Kind() Kind { return KindCertificate }

// Validate checks that the name is the fingerprint.
func (c *Certificate) Validate() error {
	if got := Fingerprint(c.PEM); got == "" || got != c.Name {
		return Invalidf("bad-certificate", "certificate %q: not PEM, or its fingerprint differs from its name", c.Name)
	}
	return nil
}

// Refs is empty.
func (*Certificate) Refs() []Key { return nil }

// Claims is empty.
func (*Certificate) Claims() []Claim { return nil }

// What a token is good for.
const (
	TokenJoin   = "join"
	TokenClient = "client"
)

// Token is a secret that is good once: to join the cluster as a member, or to have a client certificate trusted.
type Token struct {
	Header
	Use     string    `json:"use"`     // TokenJoin or TokenClient
	For     string    `json:"for"`     // name of the member to be, or label of the client
	Hash    string    `json:"hash"`    // SHA-256 of the secret, hex; the secret itself is kept nowhere
	Expires time.Time `json:"expires"` // on the wall clock
}

// Kind is KindToken.
func (*Token) Kind() Kind { return KindToken }

// Validate checks use and hash.
func (t *Token) Validate() error {
	if t.Use != TokenJoin && t.Use != TokenClient || len(t.Hash) != 2*sha256.Size {
		return Invalidf("bad-token", "token %q is malformed", t.Name)
	}
	return CheckName("member or client", t.For)
}

// Refs is empty.
func (*Token) Refs() []Key { return nil }

// Claims lets one token exist for a use and name.
func (t *Token) Claims() []Claim { return []Claim{{"token", t.Use + ":" + t.For}} }

// HashSecret is the form in which the secret of a token is kept.
func HashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
