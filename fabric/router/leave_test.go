package router

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

func TestLeave(t *testing.T) {
	for _, c := range []struct {
		name  string
		story string // want, patient (want, with a bound of 4 s), idle (want, with nothing announced), back, told, 5 (or how many) packets, or milliseconds that pass
		want  string // phase after each word
	}{
		{"told, then a grace", "want 100 told 1999 1", "shutting shutting shutting shutting drained"},
		{"a peer that can't be told", "want 6999 1", "shutting shutting drained"},
		{"told twice", "want told 1000 told 1000", "shutting shutting shutting shutting drained"},
		{"wanted again", "want told 1000 want 1000 want", "shutting shutting shutting shutting drained drained"},
		{"nothing announced", "idle", "drained"},
		{"back at once", "want told back 5000", "shutting shutting serving serving"},
		{"back, and again", "want told 2000 back want told 1999 1", "shutting shutting drained serving shutting shutting shutting drained"},
		{"told while it serves", "told want 2000", "serving shutting shutting"},
		{"not yet seen to have been told", "want seen seen unseen seen 3000", "shutting shutting shutting shutting shutting shutting"},
		{"nothing arrives", "patient told 0p 500 2p 1500", "shutting shutting shutting shutting shutting drained"},
		{"packets arrive for a while", "patient told 0p 1000 9p 1250 9p 250 0p 249 1", "shutting shutting shutting shutting shutting shutting shutting shutting shutting shutting drained"},
		{"packets arrive all the time", "patient told 0p 1000 3p 1000 3p 1999 3p 1", "shutting shutting shutting shutting shutting shutting shutting shutting shutting drained"},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Unix(1e9, 0)
			l, packets := newLeave(), uint64(0)
			var got []string
			for word := range strings.FieldsSeq(c.story) {
				switch word {
				case "want", "idle":
					l.Set(&fabric.MemberDrain{Grace: 2000}, word == "want", now)
				case "back":
					l.Set(nil, true, now)
				case "patient":
					l.Set(&fabric.MemberDrain{Grace: 2000, Timeout: 4000}, true, now)
				case "told":
					for range tellTimes {
						l.Asked(true, now)
					}
				case "seen", "unseen":
					l.Asked(word == "seen", now)
				default:
					if more, ok := strings.CutSuffix(word, "p"); ok {
						n, err := strconv.ParseUint(more, 10, 64)
						if err != nil {
							t.Fatal(err)
						}
						packets += n
						l.Counted(map[string]uint64{"veth0": packets}, now)
						break
					}
					pass, err := time.ParseDuration(word + "ms")
					if err != nil {
						t.Fatal(err)
					}
					now = now.Add(pass)
				}
				at, ok := l.Deadline()
				if due := ok && !now.Before(at); l.Expire(now) != due {
					t.Errorf("after %q: due is %v", word, due)
				}
				got = append(got, fmt.Sprint(l.phase))
			}
			text := strings.Join(got, " ")
			if text != c.want {
				t.Errorf("%s, want %s", text, c.want)
			}
		})
	}
}

func TestLeavingInOtherWords(t *testing.T) {
	told := map[string]fabric.PolicySet{"up": {Prepend: 1}}
	for _, c := range []struct {
		mode fabric.DrainMode
		want string
	}{
		{fabric.DrainGshut, "up: prepend 1 [graceful-shutdown] <nil>; rr: prepend 0 [graceful-shutdown] 0"},
		{fabric.DrainPrepend, "up: prepend 6 [] <nil>; rr: prepend 0 [graceful-shutdown] 0"},
	} {
		l := newLeave()
		l.Set(&fabric.MemberDrain{Mode: c.mode}, true, time.Unix(1e9, 0))
		all := l.attributes([]string{"up", "rr"}, map[string]bool{"rr": true}, told)
		var got []string
		for _, name := range []string{"up", "rr"} {
			set := all[name]
			pref := "<nil>"
			if set.LocalPref != nil {
				pref = fmt.Sprint(*set.LocalPref)
			}
			got = append(got, fmt.Sprintf("%s: prepend %d %v %s", name, set.Prepend, set.AddCommunities, pref))
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%s: %s, want %s", c.mode, text, c.want)
		}
	}
	if told["up"].Prepend != 1 {
		t.Error("what is told while the member serves has changed")
	}
}

// TestMemberLeavesItsPeers drains a member whose service another one has as well, and a member that is alone with it.
func TestMemberLeavesItsPeers(t *testing.T) {
	s := newSite(t, 2)
	for _, m := range s.members {
		m.start()
		m.set()
	}
	s.gateways(anycast4, "10.98.0.11 10.98.0.12")
	m := s.members[0]
	drain := func(want *fabric.MemberDrain) {
		m.value.Drain = want
		m.value.Revision++
		m.set()
	}
	drain(&fabric.MemberDrain{Grace: 2000})
	s.gateways(anycast4, "10.98.0.12") // before anything is withdrawn
	for _, prefix := range []string{anycast4, anycast6} {
		bgptest.Eventually(t, time.Second, func() string {
			paths := s.frr.Paths(prefix)
			shut := slices.DeleteFunc(slices.Clone(paths), func(p bgptest.Path) bool { return p.Community.String != "graceful-shutdown" || p.LocalPref != 0 })
			if len(paths) != 2 || len(shut) != 1 {
				return fmt.Sprintf("%s at FRR: %+v", prefix, paths)
			}
			return ""
		})
	}
	if state, err := m.client.State(t.Context()); err != nil || state.Worker.Drain != fabric.DrainShutting {
		t.Errorf("%+v, %v", state.Worker, err)
	}
	r := m.says(anycast4, fabric.ReasonDrained, "the member is drained")
	if r.Up || !r.Copies[0].Healthy {
		t.Errorf("%+v", r)
	}
	s.gateways(anycast4, "10.98.0.12")
	if _, ok := m.node.Gateways(anycast4); !ok {
		t.Error("the kernel route went with the announcement")
	}

	m.end(syscall.SIGKILL)
	m.start()
	m.says(anycast4, fabric.ReasonDrained, "")
	if got, _ := s.frr.Node.Gateways(anycast4); strings.Join(got, " ") != "10.98.0.12" {
		t.Errorf("after a restart FRR goes to %v", got)
	}
	drain(nil)
	s.gateways(anycast4, "10.98.0.11 10.98.0.12")
}
