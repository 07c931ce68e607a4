package api

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"netfabric/fabric"
)

// badInput are requests that each must get one clear line and change nothing.
var badInput = []struct {
	name   string
	method string
	path   string
	body   string
	header []string
	status int
	reason string
	want   string // in the error
}{
	{"unknown path", "GET", "/1.0/nothing", "", nil, 404, "not-found", "/1.0/nothing"},
	{"unknown version", "GET", "/2.0", "", nil, 404, "not-found", "/2.0"},
	{"wrong method", "DELETE", "/1.0/networks", "", nil, 405, "method-not-allowed", "use GET, POST"},
	{"strange method", "BREW", "/1.0", "", nil, 405, "method-not-allowed", "BREW"},
	{"dots in the path", "GET", "/1.0/../etc/passwd", "", nil, 404, "not-found", "/1.0/../etc/passwd"},
	{"escaped dots in the path", "GET", "/1.0/instances/%2e%2e%2f%2e%2e%2fetc", "", nil, 404, "not-found", "does not exist"},
	{"escaped dots in a log", "GET", "/1.0/instances/c1/logs/%2e%2e%2fpasswd", "", nil, 404, "not-found", `has no log "../passwd"`},
	{"double slash", "GET", "/1.0//instances", "", nil, 404, "not-found", ""},
	{"percent as a name in a path", "GET", "/1.0/networks/%25", "", nil, 404, "not-found", `"%"`},
	{"NUL in a path", "GET", "/1.0/profiles/a%00b", "", nil, 404, "not-found", "does not exist"},
	{"percent as a name", "POST", "/1.0/profiles", `{"name":"%"}`, nil, 400, "bad-name", `"%"`},
	{"slash in a name", "POST", "/1.0/profiles", `{"name":"../x"}`, nil, 400, "bad-name", `"../x"`},
	{"name too long for an interface", "POST", "/1.0/networks", `{"name":"abcdefghijklmnop"}`, nil, 400, "bad-name", "2 to 15"},
	{"no name", "POST", "/1.0/bgp/peers", `{"address":"192.0.2.1","asn":64512}`, nil, 400, "bad-name", `""`},
	{"unicast peer without unicast", "POST", "/1.0/gateways", `{"name":"gw","interface":"eth1","addresses":["192.0.2.1/24"],"peers":["192.0.2.9"]}`, nil, 400, "bad-peer", "unicast"},
	{"resolver of IPv4 in router advertisements", "POST", "/1.0/gateways", `{"name":"gw","interface":"eth1","addresses":["2001:db8::1/64"],"ra":{"dns":["192.0.2.53"]}}`, nil, 400, "bad-ra", "resolver"},
	{"router lifetime below the interval", "POST", "/1.0/gateways", `{"name":"gw","interface":"eth1","addresses":["2001:db8::1/64"],"ra":{"lifetime":60,"interval":100}}`, nil, 400, "bad-ra", "60 s is shorter than the 100 s"},
	{"priorities in a spread set", "POST", "/1.0/gateways", `{"name":"gw","interface":"eth1","addresses":["192.0.2.1/24"],"spread":"lan","priorities":{"n1":9}}`, nil, 400, "bad-set", "spread set"},
	{"checksum of a gateway", "POST", "/1.0/gateways", `{"name":"gw","interface":"eth1","addresses":["192.0.2.1/24"],"checksum":"crc"}`, nil, 400, "bad-value", "rfc9568"},
	{"no body", "POST", "/1.0/profiles", "", nil, 400, "bad-json", "empty"},
	{"not JSON", "POST", "/1.0/profiles", "name=a", nil, 400, "bad-json", "not JSON"},
	{"half a JSON", "POST", "/1.0/profiles", `{"name":"a"`, nil, 400, "bad-json", "not JSON"},
	{"two JSONs", "POST", "/1.0/profiles", `{"name":"a"}{}`, nil, 400, "bad-json", "after the end"},
	{"a list for an object", "POST", "/1.0/profiles", `["a"]`, nil, 400, "bad-json", "object is wanted"},
	{"a number for a string", "POST", "/1.0/profiles", `{"name":1}`, nil, 400, "bad-json", `"name": got a number where a string`},
	{"unknown key", "POST", "/1.0/profiles", `{"name":"a","nmae":"b"}`, nil, 400, "unknown-key", `"nmae"`},
	{"key in other case", "POST", "/1.0/profiles", `{"Name":"a"}`, nil, 400, "unknown-key", `"Name"`},
	{"unknown key deep inside", "POST", "/1.0/anycast", `{"name":"a","check":{"tpye":"tcp"}}`, nil, 400, "unknown-key", `"check.tpye"`},
	{"key twice", "POST", "/1.0/profiles", `{"name":"a","name":"b"}`, nil, 400, "duplicate-key", `"name"`},
	{"config key twice", "POST", "/1.0/profiles", `{"name":"a","config":{"user.a":"1","user.a":"2"}}`, nil, 400, "duplicate-key", `"config.user.a"`},
	{"10,000 levels", "POST", "/1.0/profiles", strings.Repeat(`{"config":`, 10000), nil, 400, "", ""},
	{"10,000 lists", "POST", "/1.0/profiles", `{"config":` + strings.Repeat("[", 10000), nil, 400, "too-deep", "64 levels"},
	{"2 MB", "POST", "/1.0/profiles", `{"name":"` + strings.Repeat("a", 2<<20) + `"}`, nil, 413, "body-too-large", "1048576"},
	{"NUL in a config value", "POST", "/1.0/profiles", `{"name":"a","config":{"user.a":"x\u0000y"}}`, nil, 400, "bad-value", "position 1"},
	{"newline in a config value", "PATCH", "/1.0/networks/fabbr0?target=n1", `{"config":{"bridge.external_interfaces":"eth1\nrm"}}`, nil, 400, "bad-value", "one line"},
	{"unknown config key", "PATCH", "/1.0", `{"config":{"core.bgp_asnn":"1"}}`, nil, 400, "unknown-key", `did you mean "core.bgp_asn"`},
	{"unknown device type", "POST", "/1.0/profiles", `{"name":"a","devices":{"gpu":{"type":"gpu"}}}`, nil, 501, "device-type", "use type nic or disk"},
	{"stale ETag", "PUT", "/1.0/profiles/default", `{"config":{}}`, []string{"If-Match", `"1"`}, 412, "stale", "changed since"},
	{"cross-origin websocket", "GET", "/1.0/events", "", append([]string{"Origin", "https://evil.example"}, upgradeHeader...), 403, "cross-origin", "evil.example"},
	{"cross-origin change", "POST", "/1.0/profiles", `{"name":"a"}`, []string{"Origin", "https://evil.example"}, 403, "cross-origin", "evil.example"},
	{"origin null", "POST", "/1.0/profiles", `{"name":"a"}`, []string{"Origin", "null"}, 403, "cross-origin", "null"},
	{"events without a websocket", "GET", "/1.0/events", "", nil, 400, "no-websocket", "websocket"},
	{"unknown type of events", "GET", "/1.0/events?type=ovn", "", upgradeHeader, 400, "bad-type", `"ovn"`},
	{"unknown operation", "GET", "/1.0/operations/6ba7b810-9dad-11d1-80b4-00c04fd430c8", "", nil, 404, "not-found", "this member"},
	{"bad timeout", "GET", "/1.0/operations/x/wait?timeout=abc", "", nil, 404, "not-found", ""},
	{"another project", "GET", "/1.0/instances?project=prod", "", nil, 404, "not-found", `"prod"`},
	{"another target", "POST", "/1.0/instances?target=n9", `{}`, nil, 404, "not-found", `"n9"`},
	{"broken filter", "GET", "/1.0/instances?filter=name+eq", "", nil, 400, "bad-filter", "not complete"},
	{"unknown comparison", "GET", "/1.0/instances?filter=name+like+x", "", nil, 400, "bad-filter", `"like"`},
	{"broken expression in a filter", "GET", "/1.0/instances?filter=name+eq+(", "", nil, 400, "bad-filter", "regular expression"},
	{"open quote in a filter", "GET", "/1.0/instances?filter=name+eq+%22x", "", nil, 400, "bad-filter", "not closed"},
	{"long filter", "GET", "/1.0/instances?filter=name+eq+" + strings.Repeat("x", 5000), "", nil, 400, "bad-filter", "4096"},
	{"image from a link-local address", "POST", "/1.0/images", `{"source":{"type":"url","url":"http://169.254.169.254/latest"}}`, []string{"Content-Type", "application/json"}, 501, "image-source", "only uploads"},
	{"option as a compression", "POST", "/1.0/images", `{"compression_algorithm":"gzip --rsyncable"}`, []string{"Content-Type", "application/json"}, 501, "image-source", "only uploads"},
	{"empty image", "POST", "/1.0/images", "", []string{"Content-Type", "application/octet-stream"}, 400, "empty", "empty"},
	{"image form without parts", "POST", "/1.0/images", "--b--", []string{"Content-Type", "multipart/form-data; boundary=b"}, 400, "bad-form", "no metadata"},
	{"image with another fingerprint", "POST", "/1.0/images", "x", []string{"Content-Type", "application/octet-stream", "X-LXD-fingerprint", "abc"}, 400, "fingerprint-mismatch", "abc"},
	{"image of broken content type", "POST", "/1.0/images", "x", []string{"Content-Type", ";;"}, 400, "bad-content-type", ";;"},
	{"certificate of another type", "POST", "/1.0/certificates", `{"type":"server"}`, nil, 501, "certificate-type", `"server"`},
	{"certificate that is none", "POST", "/1.0/certificates", `{"type":"client","certificate":"eA=="}`, nil, 400, "bad-certificate", "not a certificate"},
	{"restricted certificate", "POST", "/1.0/certificates", `{"type":"client","restricted":true}`, nil, 501, "restricted", "restricted"},
	{"rename", "POST", "/1.0/instances/c1", `{"name":"c2"}`, nil, 501, "rename", "renamed"},
	{"freeze", "PUT", "/1.0/instances/c1/state", `{"action":"freeze"}`, nil, 501, "action", `"freeze"`},
	{"endless timeout", "PUT", "/1.0/instances/c1/state", `{"action":"stop","timeout":99999}`, nil, 400, "bad-value", "99999"},
	{"power of nothing", "PUT", "/1.0/instances/c9/state", `{"action":"start"}`, nil, 404, "not-found", `"c9"`},
	{"peer without an address", "POST", "/1.0/bgp/peers", `{"name":"p","address":"localhost","asn":1}`, nil, 400, "bad-json", "localhost"},
	{"peer with a reserved ASN", "POST", "/1.0/bgp/peers", `{"name":"p","address":"192.0.2.1","asn":23456}`, nil, 400, "bad-asn", "23456"},
	{"peer of an unknown member", "POST", "/1.0/bgp/peers", `{"name":"p","address":"192.0.2.1","asn":64512,"members":["n9"]}`, nil, 400, "missing-reference", `"n9"`},
	{"peer with a policy that is not there", "POST", "/1.0/bgp/peers", `{"name":"p","address":"192.0.2.1","asn":64512,"export":"nope"}`, nil, 400, "missing-reference", `"nope"`},
	{"import policy that only exports", "POST", "/1.0/bgp/peers", `{"name":"p","address":"192.0.2.1","asn":64512,"import":"own"}`, nil, 400, "policy-direction", "kinds in rule 1"},
	{"policy with a built-in name", "POST", "/1.0/bgp/policies", `{"name":"own","rules":[]}`, nil, 400, "builtin-policy", `"own"`},
	{"change of a built-in policy", "PUT", "/1.0/bgp/policies/all", `{"rules":[]}`, nil, 400, "builtin-policy", `"all"`},
	{"deletion of a built-in policy", "DELETE", "/1.0/bgp/policies/none", "", nil, 400, "builtin-policy", `"none"`},
	{"policy of an unknown kind", "POST", "/1.0/bgp/policies", `{"name":"p","rules":[{"action":"accept","match":{"kinds":["forward"]}}]}`, nil, 400, "bad-rule", `rule 1: kind "forward"`},
	{"policy with an unknown condition", "POST", "/1.0/bgp/policies", `{"name":"p","rules":[{"action":"accept","match":{"kind":"anycast"}}]}`, nil, 400, "unknown-key", `"rules.match.kind"`},
	{"policy with a broken community", "POST", "/1.0/bgp/policies", `{"name":"p","rules":[{"action":"accept","set":{"add_communities":["noexport"]}}]}`, nil, 400, "bad-json", "noexport"},
	{"policy with a broken prefix", "POST", "/1.0/bgp/policies", `{"name":"p","rules":[{"action":"accept","match":{"prefixes":["10.0.0.0/8 le 40"]}}]}`, nil, 400, "bad-json", "8 to 40"},
	{"deletion of a policy that is not there", "DELETE", "/1.0/bgp/policies/nope", "", nil, 404, "not-found", `"nope"`},
	{"peer with an unknown word for an ASN", "POST", "/1.0/bgp/peers", `{"name":"p","address":"192.0.2.1","asn":"any"}`, nil, 400, "bad-json", "internal or external"},
	{"BFD profile without an interval", "POST", "/1.0/bgp/bfd-profiles", `{"name":"fast"}`, nil, 400, "bad-value", "interval"},
	{"BFD profile that is too fast", "POST", "/1.0/bgp/bfd-profiles", `{"name":"fast","interval":5}`, nil, 400, "bad-value", "10-10000"},
	{"BFD profile without a name", "POST", "/1.0/bgp/bfd-profiles", `{"interval":50}`, nil, 400, "bad-name", `""`},
	{"peer with a BFD profile that is not there", "POST", "/1.0/bgp/peers", `{"name":"p","address":"192.0.2.1","asn":64512,"bfd":{"profile":"nope"}}`, nil, 400, "missing-reference", `"nope"`},
	{"peer with BFD without timers", "POST", "/1.0/bgp/peers", `{"name":"p","address":"192.0.2.1","asn":64512,"bfd":{"multiplier":5}}`, nil, 400, "bad-value", "bfd.profile"},
	{"peer by prefix and by address", "POST", "/1.0/bgp/peers", `{"name":"p","address":"192.0.2.1","dynamic":"192.0.2.0/24","asn":64512}`, nil, 400, "bad-address", "dynamic"},
	{"peer by what is no prefix", "POST", "/1.0/bgp/peers", `{"name":"p","dynamic":"192.0.2.1/24","asn":64512}`, nil, 400, "bad-address", "192.0.2.1/24"},
	{"peer by everything", "POST", "/1.0/bgp/peers", `{"name":"p","dynamic":"0.0.0.0/0","asn":64512}`, nil, 400, "bad-address", "0.0.0.0/0"},
	{"peer by prefix, too many", "POST", "/1.0/bgp/peers", `{"name":"p","dynamic":"192.0.2.0/24","asn":64512,"max_sessions":5000}`, nil, 400, "bad-value", "1-1000"},
	{"peer by address with many sessions", "POST", "/1.0/bgp/peers", `{"name":"p","address":"192.0.2.1","asn":64512,"max_sessions":5}`, nil, 400, "bad-value", "max_sessions"},
	{"peer that is to be sent more paths", "POST", "/1.0/bgp/peers", `{"name":"p","address":"192.0.2.1","asn":64512,"add_path":"send"}`, nil, 400, "bad-value", "one path"},
	{"peer on no interface", "POST", "/1.0/bgp/peers", `{"name":"p","interface":"eth 1","asn":64512}`, nil, 400, "bad-name", `"eth 1"`},
	{"peer at two places", "POST", "/1.0/bgp/peers", `{"name":"p","address":"192.0.2.1","interface":"eth1","asn":64512}`, nil, 400, "bad-address", "eth1"},
	{"peer at a link-local address", "POST", "/1.0/bgp/peers", `{"name":"p","address":"fe80::1","asn":64512}`, nil, 400, "link-local-peer", "interface"},
	{"peer on an interface, behind routers", "POST", "/1.0/bgp/peers", `{"name":"p","interface":"eth1","asn":64512,"multihop_ttl":3}`, nil, 400, "bad-value", "multihop_ttl"},
	{"passive peer on an interface with a password", "POST", "/1.0/bgp/peers", `{"name":"p","interface":"eth1","asn":64512,"passive":true,"password":"x"}`, nil, 400, "bad-value", "passive"},
	{"peer that installs something else", "POST", "/1.0/bgp/peers", `{"name":"p","address":"192.0.2.1","asn":64512,"install":"some"}`, nil, 400, "bad-value", "some"},
	{"peer that installs into the table of local addresses", "POST", "/1.0/bgp/peers", `{"name":"p","address":"192.0.2.1","asn":64512,"install":"all","table":"255"}`, nil, 400, "bad-value", "local addresses"},
	{"peer with a metric for nothing", "POST", "/1.0/bgp/peers", `{"name":"p","address":"192.0.2.1","asn":64512,"metric":5}`, nil, 400, "bad-value", "set install"},
	{"peer with a broken limit", "POST", "/1.0/bgp/peers", `{"name":"p","address":"192.0.2.1","asn":64512,"max_prefix":{"limit":5,"action":"drop"}}`, nil, 400, "bad-value", "drop"},
	{"anycast prefix", "POST", "/1.0/anycast", `{"name":"a","addresses":["203.0.113.0/24"]}`, nil, 400, "bad-address", "single address"},
	{"anycast weight that does not exist", "POST", "/1.0/anycast", `{"name":"a","addresses":["203.0.113.53/32"],"weight":"heavy"}`, nil, 400, "bad-value", `weight "heavy"`},
	{"link bandwidth of nothing", "POST", "/1.0/bgp/policies", `{"name":"p","rules":[{"action":"accept","set":{"link_bandwidth":0}}]}`, nil, 400, "bad-rule", "link_bandwidth=0 is not in 1-34359"},
	{"link bandwidth without bound", "POST", "/1.0/bgp/policies", `{"name":"p","rules":[{"action":"accept","set":{"link_bandwidth":34360}}]}`, nil, 400, "bad-rule", "link_bandwidth=34360 is not in 1-34359"},
	{"exec check without a command", "POST", "/1.0/anycast", `{"name":"a","addresses":["203.0.113.53/32"],"check":{"type":"exec","command":" "}}`, nil, 400, "bad-check", "needs a command"},
	{"exec check with half a quote", "POST", "/1.0/anycast", `{"name":"a","addresses":["203.0.113.53/32"],"check":{"type":"exec","command":"sh -c 'a"}}`, nil, 400, "bad-check", "a quote has no end"},
	{"exec check in two lines", "POST", "/1.0/anycast", `{"name":"a","addresses":["203.0.113.53/32"],"check":{"type":"exec","command":"a\nb"}}`, nil, 400, "bad-check", "more than one line"},
	{"exec check too often", "POST", "/1.0/anycast", `{"name":"a","addresses":["203.0.113.53/32"],"check":{"type":"exec","command":"a","interval":100}}`, nil, 400, "bad-check", "at least 200 ms"},
	{"exec check with a port", "POST", "/1.0/anycast", `{"name":"a","addresses":["203.0.113.53/32"],"check":{"type":"exec","command":"a","port":80}}`, nil, 400, "bad-check", "has no port"},
	{"command of another check", "POST", "/1.0/anycast", `{"name":"a","addresses":["203.0.113.53/32"],"check":{"type":"tcp","command":"a","port":80}}`, nil, 400, "bad-check", "has no command"},
	{"cluster group without a name", "POST", "/1.0/cluster/groups", `{"members":["n1"]}`, nil, 400, "bad-name", "cluster group"},
	{"cluster group of nobody", "POST", "/1.0/cluster/groups", `{"name":"g","members":["n9"]}`, nil, 400, "no-member", `"n9"`},
	{"default cluster group", "DELETE", "/1.0/cluster/groups/default", ``, nil, 400, "builtin-group", "always there"},
	{"peer of a group that is not there", "POST", "/1.0/bgp/peers", `{"name":"p","address":"192.0.2.77","asn":65001,"members":["group:nope"]}`, nil, 400, "missing-reference", "nope"},
	{"peer of a group without a name", "POST", "/1.0/bgp/peers", `{"name":"p","address":"192.0.2.77","asn":65001,"members":["group:"]}`, nil, 400, "bad-value", "group:"},
	{"gateway of a group that is not there", "POST", "/1.0/gateways", `{"name":"g","interface":"eth1","addresses":["192.0.2.1/24"],"members":["group:nope"]}`, nil, 400, "missing-reference", "nope"},
	{"gateway of a group without a name", "POST", "/1.0/gateways", `{"name":"g","interface":"eth1","addresses":["192.0.2.1/24"],"members":["group:"]}`, nil, 400, "bad-member", "group:"},
	{"gateway with nothing to announce", "POST", "/1.0/gateways", `{"name":"g","interface":"eth1","addresses":["fe80::1/64"],"announce":true}`, nil, 400, "bad-announce", "link-local"},
	{"kind of an object that does not exist", "POST", "/1.0/bgp/policies", `{"name":"p","rules":[{"match":{"kinds":["load-balancer"]},"action":"accept"}]}`, nil, 400, "bad-rule", "network, instance, anycast or gateway"},
	{"instance in a group that is not there", "POST", "/1.0/instances?target=@nope", `{"name":"x","source":{"type":"none"}}`, nil, 404, "not-found", "nope"},
	{"network in a group", "POST", "/1.0/networks?target=@default", `{"name":"x"}`, nil, 404, "not-found", "@default"},
	{"AS number template", "PATCH", "/1.0", `{"config":{"bgp.asn_template":"4200000000"}}`, nil, 400, "bad-value", "4200000000+number"},
	{"AS number template beyond", "PATCH", "/1.0", `{"config":{"bgp.asn_template":"4294967295+number"}}`, nil, 400, "bad-asn", "bgp.asn_template"},
	{"AS numbers of failure domains", "PATCH", "/1.0", `{"config":{"bgp.asn_by_failure_domain":"rack1=65101,rack1=65102"}}`, nil, 400, "bad-value", "there twice"},
	{"AS number of a failure domain", "PATCH", "/1.0", `{"config":{"bgp.asn_by_failure_domain":"rack1=65535"}}`, nil, 400, "bad-value", "reserved"},
	{"RPKI cache nowhere", "POST", "/1.0/bgp/rpki", `{"name":"r","address":"0.0.0.0"}`, nil, 400, "bad-address", "0.0.0.0"},
	{"RPKI cache at a bad port", "POST", "/1.0/bgp/rpki", `{"name":"r","address":"192.0.2.1","port":70000}`, nil, 400, "bad-json", "port"},
	{"RPKI data that expire at once", "POST", "/1.0/bgp/rpki", `{"name":"r","address":"192.0.2.1","expire":10}`, nil, 400, "bad-value", "expire=10 is not in 600-172800"},
	{"RPKI data that expire before news", "POST", "/1.0/bgp/rpki", `{"name":"r","address":"192.0.2.1","expire":600,"refresh":601}`, nil, 400, "bad-value", "expire before"},
	{"validation state that does not exist", "POST", "/1.0/bgp/policies", `{"name":"p","rules":[{"action":"accept","match":{"validation":["good"]}}]}`, nil, 400, "bad-rule", `validation "good"`},
	{"loopback anycast", "POST", "/1.0/anycast", `{"name":"a","addresses":["127.0.0.1/32"]}`, nil, 400, "bad-address", "127.0.0.1"},
	{"overlapping network", "POST", "/1.0/networks", `{"name":"other0","config":{"ipv4.address":"10.1.0.129/25","ipv6.address":"none"}}`, nil, 409, "subnet-overlap", "fabbr0"},
	{"network that is there", "POST", "/1.0/networks", `{"name":"fabbr0"}`, nil, 409, "exists", "fabbr0"},
	{"pool that is in use", "DELETE", "/1.0/storage-pools/local", "", nil, 409, "in-use", "in use"},
	{"alias of nothing", "POST", "/1.0/images/aliases", `{"name":"a","target":"ffff"}`, nil, 404, "not-found", `"ffff"`},
	{"leaving the cluster", "PUT", "/1.0/cluster", `{"enabled":false}`, nil, 501, "leave", "fabricctl cluster remove n1"},
	{"member that is there", "POST", "/1.0/cluster/members", `{"server_name":"n1"}`, nil, 409, "exists", `"n1"`},
	{"removing nobody", "DELETE", "/1.0/cluster/members/n9", "", nil, 404, "not-found", `"n9"`},
	{"volume of another type", "GET", "/1.0/storage-pools/local/volumes/custom/x", "", nil, 404, "not-found", "custom"},
}

var upgradeHeader = []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}

func TestBadInput(t *testing.T) {
	m := bootstrapped(t, "n1", "n2").members["n1"]
	m.launch(t, "c1", "")
	for _, c := range badInput {
		t.Run(c.name, func(t *testing.T) {
			before := m.store.Snapshot().Revision
			resp, e := m.raw(t, c.method, c.path, c.body, c.header...)
			if resp.StatusCode != c.status {
				t.Fatalf("status %d (%s), want %d", resp.StatusCode, e.Error, c.status)
			}
			var d ErrorDetail
			must(t, json.Unmarshal(e.Metadata, &d))
			if c.reason != "" && d.Reason != c.reason || !strings.Contains(e.Error, c.want) {
				t.Fatalf("got %s: %s, want %s: %s", d.Reason, e.Error, c.reason, c.want)
			}
			if e.Error == "" || strings.ContainsAny(e.Error, "\n\r") || len(e.Error) > 600 || e.Code != c.status || e.Type != "error" {
				t.Fatalf("the error is not one clear line: %+v", e)
			}
			if now := m.store.Snapshot().Revision; now != before {
				t.Fatalf("something was written: %d to %d", before, now)
			}
		})
	}
}

// TestNullsOfAnEmptyEdit has what the stock client sends when its editor gave nothing.
func TestNullsOfAnEmptyEdit(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	put(t, m.store, &fabric.Profile{Header: fabric.Header{Name: "web"}, Config: fabric.Config{"user.a": "b"}, Devices: fabric.Devices{}})
	resp, e := m.raw(t, "PUT", "/1.0/profiles/web", `{"config":null,"description":"","devices":null}`)
	if resp.StatusCode != http.StatusOK {
		t.Fatal(e.Error)
	}
	if p, _ := m.store.Snapshot().Profile("web"); len(p.Config) != 0 {
		t.Fatalf("got %+v", p)
	}
}

func TestCertificatesThatAreRefused(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	expired, text := newCertificate(t, "expired", time.Now().Add(-time.Minute))
	put(t, m.store, &fabric.Certificate{Header: fabric.Header{Name: fabric.Fingerprint(text)}, PEM: text, Label: "expired"})
	address := m.https.Listener.Addr().String()
	for name, cert := range map[string]*tls.Certificate{"none": nil, "expired": &expired} {
		_, err := NewTLSClient(address, cert, fabric.Fingerprint(m.pem)).GetMembers(t.Context())
		t.Run(name, func(t *testing.T) { refused(t, err, fabric.CodeForbidden, "not-trusted") })
	}
	// A certificate whose key the client does not have ends in the handshake.
	known, text := newCertificate(t, "known", farFuture)
	put(t, m.store, &fabric.Certificate{Header: fabric.Header{Name: fabric.Fingerprint(text)}, PEM: text, Label: "known"})
	other, _ := newCertificate(t, "other", farFuture)
	stolen := tls.Certificate{Certificate: known.Certificate, PrivateKey: other.PrivateKey}
	_, err := NewTLSClient(address, &stolen, fabric.Fingerprint(m.pem)).GetMembers(t.Context())
	refused(t, err, fabric.CodeUnavailable, "no-connection")
	_, err = NewTLSClient(address, &known, fabric.Fingerprint(m.pem)).GetMembers(t.Context())
	must(t, err)
	// The client looks at the server in turn.
	_, err = NewTLSClient(address, &known, fabric.Fingerprint(text)).GetMembers(t.Context())
	refused(t, err, fabric.CodeForbidden, "wrong-server-certificate")
	got, err := ServerFingerprint(t.Context(), address)
	must(t, err)
	if got != fabric.Fingerprint(m.pem) {
		t.Fatalf("got %s", got)
	}
	// The type of a certificate can't be changed.
	resp, e := m.raw(t, "PATCH", "/1.0/certificates/"+fabric.Fingerprint(text), `{"type":"server"}`)
	if resp.StatusCode != http.StatusNotImplemented {
		t.Fatalf("status %d: %s", resp.StatusCode, e.Error)
	}
}

func TestExpiredToken(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	put(t, m.store, &fabric.Token{Header: fabric.Header{Name: "t"}, Use: fabric.TokenClient, For: "late", Hash: fabric.HashSecret("x"), Expires: time.Now().Add(-time.Second)})
	refused(t, m.tlsClient(t, "late").UseClientToken(t.Context(), "late", "x"), fabric.CodeForbidden, "token-expired")
	refused(t, m.tlsClient(t, "late").UseClientToken(t.Context(), "late", ""), fabric.CodeForbidden, "not-trusted")
	if n := m.store.Snapshot().Len(fabric.KindCertificate); n != 0 {
		t.Fatalf("%d certificates", n)
	}
}

// TestSlowHeaders sees that a connection that sends its header too slowly is closed.
func TestSlowHeaders(t *testing.T) {
	m := newFixture(t, "n1").members["n1"]
	server := m.server.HTTPServer()
	if server.ReadHeaderTimeout <= 0 || server.ReadHeaderTimeout > 30*time.Second || server.MaxHeaderBytes <= 0 || server.MaxHeaderBytes > 1<<20 {
		t.Fatalf("limits: %s, %d bytes", server.ReadHeaderTimeout, server.MaxHeaderBytes)
	}
	server.ReadHeaderTimeout = 50 * time.Millisecond
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go server.Serve(listener)
	defer server.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	must(t, err)
	defer conn.Close()
	fmt.Fprint(conn, "GET /1.0 HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if data, err := io.ReadAll(conn); err != nil || strings.Contains(string(data), "200 OK") {
		t.Fatalf("got %q, %v", data, err)
	}
}

func TestNoQuorum(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	m.store.Refuse(fabric.Errorf(fabric.CodeUnavailable, "no-quorum", "write to the database: 1 of 3 members answers").WithFix("start another member"))
	resp, e := m.raw(t, "POST", "/1.0/networks", `{"name":"web0"}`)
	if resp.StatusCode != http.StatusServiceUnavailable || e.Error != "write to the database: 1 of 3 members answers; start another member" {
		t.Fatalf("status %d: %s", resp.StatusCode, e.Error)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := m.unix.GetNetworks(ctx)
	must(t, err)
}
