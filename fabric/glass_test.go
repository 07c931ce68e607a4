package fabric

import (
	"net/netip"
	"net/url"
	"testing"
)

func TestBGPQuery(t *testing.T) {
	for _, q := range []BGPQuery{
		{Table: BGPLocal, Limit: 1000},
		{Table: BGPBest, Limit: 1, Prefix: netip.MustParsePrefix("10.0.0.0/8")},
		{Table: BGPIn, Peer: "tor1", Limit: MaxBGPLimit},
		{Table: BGPOut, Peer: "a&b=c", Limit: 7, Prefix: netip.MustParsePrefix("2001:db8::1/128")},
	} {
		got, err := ParseBGPQuery(q.Values())
		if err != nil || got != q {
			t.Errorf("%+v came back as %+v, %v", q, got, err)
		}
	}
	if got, err := ParseBGPQuery(url.Values{}); err != nil || got != (BGPQuery{Table: BGPLocal, Limit: DefaultBGPLimit}) {
		t.Errorf("nothing asked is %+v, %v", got, err)
	}
	for query, reason := range map[string]string{
		"table=in": "bad-table", "table=best&peer=tor1": "bad-table", "table=x": "bad-table", "prefix=10.0.0.1/8": "bad-prefix", "prefix=x": "bad-prefix",
		"limit=0": "bad-limit", "limit=-1": "bad-limit", "limit=100001": "bad-limit", "limit=many": "bad-limit",
	} {
		v, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseBGPQuery(v); CodeOf(err) != CodeInvalid || ReasonOf(err) != reason {
			t.Errorf("%s: %v (%s), want %s", query, err, ReasonOf(err), reason)
		}
	}
}
