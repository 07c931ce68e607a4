package fabric

import (
	"net/netip"
	"strconv"
	"time"
)

// ClusterName is the name of the one Cluster object.
const ClusterName = "cluster"

// Cluster is the configuration that all members share. There is exactly one.
type Cluster struct {
	Header
	Config Config `json:"config"`

	// What members show to clients since it was replaced, and its key; empty before that. No request gives the key away.
	Certificate string `json:"certificate,omitempty"`
	Key         string `json:"key,omitempty"`
}

// ClusterKeys are the config keys of the cluster.
var ClusterKeys = KeyTable{
	{"core.bgp_asn", ASN, "", ScopeGlobal, "AS number with which members speak BGP; without it nothing is announced"},
	{"bgp.asn_by_failure_domain", ValueType{"list of DOMAIN=ASN", checkDomainASNs}, "", ScopeGlobal, "AS numbers of the members of failure domains, such as rack1=65101,rack2=65102, in place of core.bgp_asn and the template"},
	{"bgp.asn_template", ValueType{"ASN+number", checkASNTemplate}, "", ScopeGlobal, "AS number for each member, such as 4200000000+number with the number that cluster show tells, in place of core.bgp_asn"},
	{"bgp.prefixes", ValueType{"list of prefixes", checkPrefixes}, "", ScopeGlobal, "Comma-separated prefixes: nothing outside of them is announced to BGP peers; without it there is no bound"},
	{"bgp.mesh", OneOf(MeshOff, MeshFull, MeshReflector), MeshOff, ScopeGlobal, "BGP sessions between members, so that each can reach all instances and leave by any other: full is one of each with each other, reflector one of each with up to three of them; needs core.bgp_asn"},
	{"cluster.offline_threshold", Integer(2, 3600), "10", ScopeGlobal, "Seconds without a sign of life after which a member counts as offline"},
	{"cluster.network_latency", Integer(1, 1000), "20", ScopeGlobal, "Round-trip time in milliseconds that the database assumes between members: elections take about 30 times as long"},
	{"cluster.join_token_expiry", Integer(60, 604800), "10800", ScopeGlobal, "Seconds for which a join token is good"},
	{"cluster.images_minimal_replica", Or(Integer(1, 1000), "-1"), "3", ScopeGlobal, "Number of members that keep a copy of each image; -1 is all of them"},
	{"user.*", Text, "", ScopeGlobal, "Free for your own use"},
}

// Values of bgp.mesh.
const (
	MeshOff       = "off"
	MeshFull      = "full"
	MeshReflector = "reflector"
)

// Kind is KindCluster.
func (*Cluster) Kind() Kind { return KindCluster }

// Validate checks the config.
func (c *Cluster) Validate() error {
	if c.Name != ClusterName {
		return Invalidf("bad-name", "the cluster object is named %q, not %q", ClusterName, c.Name)
	}
	if err := ClusterKeys.Check("the server", c.Config); err != nil {
		return err
	}
	if c.Mesh() != MeshOff && c.ASN() == 0 {
		return Invalidf("bad-value", "the server: bgp.mesh=%s needs an AS number in common", c.Mesh()).WithFix("set core.bgp_asn")
	}
	return nil
}

// check makes sure that the config makes an AS number of each member.
func (c *Cluster) check(next *Snapshot) error {
	for _, m := range next.Members() {
		if err := m.checkASN(next); err != nil {
			return err
		}
	}
	return nil
}

func checkDomainASNs(v string) error {
	_, err := parseDomainASNs(v)
	return err
}

func checkASNTemplate(v string) error {
	_, err := parseASNTemplate(v)
	return err
}

// Refs is empty.
func (*Cluster) Refs() []Key { return nil }

// Claims is empty.
func (*Cluster) Claims() []Claim { return nil }

// ASN is the AS number of the cluster, 0 where none is set.
func (c *Cluster) ASN() uint32 {
	n, _ := strconv.ParseUint(ClusterKeys.Get(c.Config, "core.bgp_asn"), 10, 32)
	return uint32(n)
}

// Mesh is one of the values of bgp.mesh.
func (c *Cluster) Mesh() string { return ClusterKeys.Get(c.Config, "bgp.mesh") }

// Meshed tells whether members have BGP sessions with each other.
func (c *Cluster) Meshed() bool { return c.Mesh() != MeshOff && c.ASN() != 0 }

// Prefixes is the address space outside of which nothing is announced, empty where there is no bound.
func (c *Cluster) Prefixes() []netip.Prefix {
	prefixes, _ := ParsePrefixes(ClusterKeys.Get(c.Config, "bgp.prefixes")) // validated with the config
	return prefixes
}

func checkPrefixes(v string) error {
	_, err := ParsePrefixes(v)
	return err
}

// OfflineThreshold is how long a member may be silent before it counts as offline.
func (c *Cluster) OfflineThreshold() time.Duration { return c.seconds("cluster.offline_threshold") }

// JoinTokenExpiry is how long a new join token is good.
func (c *Cluster) JoinTokenExpiry() time.Duration { return c.seconds("cluster.join_token_expiry") }

// NetworkLatency is the latency that the database assumes between members.
func (c *Cluster) NetworkLatency() time.Duration {
	n, _ := strconv.Atoi(ClusterKeys.Get(c.Config, "cluster.network_latency"))
	return time.Duration(n) * time.Millisecond
}

// ImageReplicas is the number of members that keep a copy of each image, -1 for all.
func (c *Cluster) ImageReplicas() int {
	n, _ := strconv.Atoi(ClusterKeys.Get(c.Config, "cluster.images_minimal_replica"))
	return n
}

func (c *Cluster) seconds(key string) time.Duration {
	n, _ := strconv.Atoi(ClusterKeys.Get(c.Config, key))
	return time.Duration(n) * time.Second
}
