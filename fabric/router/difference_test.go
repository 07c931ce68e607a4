package router

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"netfabric/fabric"
)

// TestSpliceMakesTheOtherList puts what differs between two lists into one of them, for lists of few different elements: many of them are there twice.
func TestSpliceMakesTheOtherList(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	list := func() marks {
		m := make(marks, random.IntN(6))
		for i := range m {
			m[i] = uint64(random.IntN(3))
		}
		return m
	}
	left := 0
	for range 20_000 {
		base, next := list(), list()
		b := differ(base, next)
		got, ok := splice(base, b, next[b.head:len(next)-b.tail])
		if !ok || !slices.Equal(got, next) {
			t.Fatalf("from %v to %v: %+v gives %v, %v", base, next, b, got, ok)
		}
		left += b.head + b.tail
	}
	if left == 0 {
		t.Error("nothing was ever left out")
	}
	for _, b := range []between{{-1, 0}, {0, -1}, {2, 2}, {4, 0}, {1 << 62, 1 << 62}} {
		if got, ok := splice(marks{1, 2, 3}, b, nil); ok {
			t.Errorf("%+v of three: %v", b, got)
		}
	}
}

func TestMessageIsARoutingValue(t *testing.T) {
	for n := range 3 {
		value := longValue(n)
		m, err := encode(value)
		if err != nil {
			t.Fatal(err)
		}
		body, err := m.body(between{})
		var got fabric.Routing
		if err == nil {
			err = json.Unmarshal(body, &got)
		}
		if len(got.Announcements) == 0 {
			got.Announcements = nil
		}
		if err != nil || !reflect.DeepEqual(got, value) {
			t.Errorf("%d announcements: %s: %+v, %v", n, body, got, err)
		}
		value.Revision++
		if again, err := encode(value); err != nil || !again.same(m) {
			t.Errorf("%d announcements: another revision is another message: %v", n, err)
		}
		value.Member = "n2"
		if again, err := encode(value); err != nil || again.same(m) {
			t.Errorf("%d announcements: another member has the same message: %v", n, err)
		}
	}
	one, err := encode(longValue(1))
	two, err2 := encode(longValue(2))
	if err != nil || err2 != nil || one.same(two) || one.same(nil) {
		t.Errorf("messages with other announcements are the same: %v, %v", err, err2)
	}
}

// TestTwoWhoSet has two clients change announcements at head, middle and tail in turns. Neither knows what the other has sent and been told.
func TestTwoWhoSet(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	m.start()
	m.set()
	clients := []*Client{m.client, NewClient(m.socket())}
	announce := func(octets ...byte) {
		m.value.Revision++
		m.value.Announcements = nil
		for _, o := range octets {
			m.value.Announcements = append(m.value.Announcements, fabric.Announcement{
				Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, o}), 32), Kind: fabric.AnnounceNetwork,
				Owner: fabric.Key{Kind: fabric.KindNetwork, Name: "br0"}, Peers: []string{"up4"},
			})
		}
	}
	for n, octets := range [][]byte{{1, 2, 3, 4, 5}, {2, 3, 4, 5}, {2, 3, 9, 5}, {2, 3, 9, 5, 6}, {}, {7}, {7, 8}, {6, 7, 8}, {6, 8}, {6, 8}} {
		announce(octets...)
		for turn := range 2 + n%2 { // so that both set twice in a row, now and then
			state, err := clients[(n+turn)%2].Set(t.Context(), m.value)
			var told []byte
			for _, r := range state.Routes {
				told = append(told, r.Prefix.Addr().As4()[3])
			}
			if err != nil || !slices.Equal(told, octets) || state.Worker.Revision != m.value.Revision {
				t.Fatalf("set %v: told %v at revision %d, %v", octets, told, state.Worker.Revision, err)
			}
		}
		for i, c := range clients {
			if state, err := c.State(t.Context()); err != nil || len(state.Routes) != len(octets) {
				t.Fatalf("client %d is told %+v, %v", i, state.Routes, err)
			}
		}
	}
}

func TestBadPatchChangesNothing(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	m.start()
	m.set()
	base := m.client.base.token
	for name, x := range map[string]struct{ query, body, reason string }{
		"no base":         {"head=0&tail=0", `{}`, reasonOtherBase},
		"another base":    {"base=1.1&head=0&tail=0", `{}`, reasonOtherBase},
		"no number":       {"base=" + base + "&head=x&tail=0", `{}`, "bad-value"},
		"no tail":         {"base=" + base + "&head=0", `{}`, "bad-value"},
		"negative":        {"base=" + base + "&head=-1&tail=0", `{}`, "bad-value"},
		"more than there": {"base=" + base + "&head=2&tail=1", `{}`, "bad-value"},
		"unknown key":     {"base=" + base + "&head=0&tail=0", `{"color": "red"}`, "bad-json"},
		"twice":           {"base=" + base + "&head=2&tail=0", `{"announcements": [{"prefix": "` + anycast4 + `"}]}`, "bad-prefix"},
	} {
		if _, err := m.client.do(t.Context(), http.MethodPatch, "/routing?"+x.query, []byte(x.body)); fabric.ReasonOf(err) != x.reason {
			t.Errorf("%s: %v, want reason %s", name, err, x.reason)
		}
	}
	if state, err := m.client.State(t.Context()); err != nil || state.Worker.Revision != 1 || len(state.Routes) != 2 {
		t.Errorf("%+v, %v", state, err)
	}
	if strings.Contains(base, " ") || base == "" {
		t.Errorf("token %q", base)
	}
}
