package router

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"netfabric/bgp/bgptest"
	"netfabric/fabric"
)

// host is the facts of a host: why processes and links are dead.
type host struct {
	process map[int]string
	link    map[string]string
}

func (h host) processDead(p fabric.Process) string { return h.process[p.PID] }
func (h host) linkDown(name string) string         { return h.link[name] }

// stage is an announcement with copies a, b, ... that are driven through a story.
type stage struct {
	a        fabric.Announcement
	host     host
	trackers map[copyKey]*tracker
	now      time.Time
}

func newStage(copies, keep int) *stage {
	s := &stage{
		a:    fabric.Announcement{Prefix: netip.MustParsePrefix(anycast4), Route: true, Keep: keep},
		host: host{map[int]string{}, map[string]string{}}, trackers: map[copyKey]*tracker{}, now: time.Unix(1e9, 0),
	}
	for n := range copies {
		name := string(rune('a' + n))
		c := fabric.Copy{
			Instance: name, Link: name, Dev: "br0", Via: netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), Process: fabric.Process{PID: n + 1},
			Check: &fabric.Check{Type: fabric.CheckTCP, Interval: 1000, Rise: 1, Fall: 1}, Linger: 500,
		}
		s.a.Copies = append(s.a.Copies, c)
		s.trackers[keyOf(s.a.Prefix, c)] = newTracker(c, &damping{}, verdict{}, s.now)
	}
	return s
}

// play does what a word says to a copy: a+ and a- are results of its check, a! kills its process, a~ its link, a^ brings both back, a. drains
// it, a, ends that; a number of milliseconds passes.
func (s *stage) play(word string) {
	if ms, err := time.ParseDuration(word + "ms"); err == nil {
		s.now = s.now.Add(ms)
	} else {
		c := &s.a.Copies[word[0]-'a']
		t := s.trackers[keyOf(s.a.Prefix, *c)]
		switch word[1] {
		case '+':
			t.health.Result("")
		case '-':
			t.health.Result("refused")
		case '!':
			s.host.process[c.Process.PID] = "killed"
		case '~':
			s.host.link[c.Link] = "down"
		case '^':
			delete(s.host.process, c.Process.PID)
			delete(s.host.link, c.Link)
		case '.':
			c.Drain = fabric.ReasonDraining
		case ',':
			c.Drain = ""
		}
		t.follow(*c, s.now)
	}
	for _, t := range s.trackers {
		t.judge(s.host, s.now)
	}
}

// used and routed are the copies that are announced, and those that the kernel route leads to.
func (s *stage) used() string {
	var names []string
	for _, t := range used(s.a, s.trackers) {
		names = append(names, t.copy.Instance)
	}
	return strings.Join(names, "")
}

func (s *stage) routed() string {
	var names []string
	for _, h := range wantedRoutes(fabric.Routing{Announcements: []fabric.Announcement{s.a}}, s.trackers)[s.a.Prefix] {
		names = append(names, string(rune('a'+h.Via.As4()[3])))
	}
	return strings.Join(names, "")
}

func TestWhichCopiesAreUsed(t *testing.T) {
	for _, c := range []struct {
		name   string
		copies int
		keep   int
		story  string
		want   string // used and, where others, routed, after each word; "." is none
	}{
		{"healthy ones", 2, 0, "a+ b+ a- a+", "a ab b ab"},
		{"a failed check withdraws the last one", 1, 0, "a+ a-", "a ."},
		{"unless it is to be kept", 1, 1, "a+ a- a- a+", "a a a a"},
		{"one that was never healthy is not kept", 1, 1, "a- a+", ". a"},
		{"as many as needed are kept", 3, 2, "a+ b+ c+ a- b- c- a+", "a ab abc bc ca ab ab"},
		{"a dead process is never kept", 1, 1, "a+ a- a!", "a a ."},
		{"a dead link is never kept", 1, 1, "a+ a~ a^ a+", "a . . a"},
		{"a drained one is never kept", 1, 1, "a+ a- a. 500", "a a ./a ."},
		{"a drained one is withdrawn at once and led to for a while", 1, 0, "a+ a. 499 1", "a ./a ./a ."},
		{"unless another one goes on", 2, 0, "a+ b+ a. 499 1", "a ab b b b"},
		{"a drained one that dies is not led to", 1, 0, "a+ a. a!", "a ./a ."},
		{"drained and back", 1, 0, "a+ a. 600 a,", "a ./a . a"},
		{"flapping is damped", 1, 0, "a+ a- a+ a- a+ a- a+ 29000 2000", "a . a . a . . . a"},
		{"but the last one is kept", 1, 1, "a+ a- a+ a- a+ a- a+", "a a a a a a a"},
		{"a drain is no flap", 1, 0, "a+ a. a! a^ a, a+ a. a! a^ a, a+ a. a! a^ a, a+", "a ./a . ./a . a ./a . ./a . a ./a . ./a . a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(c.copies, c.keep)
			var got []string
			for word := range strings.FieldsSeq(c.story) {
				s.play(word)
				used, routed := s.used(), s.routed()
				if used == "" {
					used = "."
				}
				if sorted := sortedLetters(used); routed != "" && routed != sorted {
					used += "/" + routed
				}
				got = append(got, used)
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("%s\n%s, want\n%s", c.story, text, c.want)
			}
		})
	}
}

func sortedLetters(s string) string {
	letters := strings.Split(s, "")
	slices.Sort(letters)
	return strings.Join(letters, "")
}

func TestDampedCopyInWords(t *testing.T) {
	s := newStage(1, 0)
	for word := range strings.FieldsSeq("a+ a- a+ a- a+ a- a+") {
		s.play(word)
	}
	got := s.trackers[keyOf(s.a.Prefix, s.a.Copies[0])].public()
	want := "became unhealthy 3 times in short order, used again at 01:47:10Z if it no longer does"
	if got.Reason != fabric.ReasonDamped || got.Message != want || got.Until.Sub(s.now) != 30*time.Second || got.Flaps != 3 || got.Check != "success" {
		t.Errorf("%+v, want %s", got, want)
	}
}

// TestFlappingServiceIsDamped restarts a real service again and again and counts what the router sees of it.
func TestFlappingServiceIsDamped(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	m.value = m.anycast(&fabric.Check{Type: fabric.CheckTCP, Port: 80, Interval: 50, Timeout: 50, Rise: 1, Fall: 1})
	m.start()
	m.set()
	for range 3 {
		service := m.serve()
		s.gateways(anycast4, "10.98.0.11")
		service.Process.Kill()
		m.says(anycast4, fabric.ReasonCheckFailed, "refused")
		s.gateways(anycast4, "")
	}
	m.serve()
	r := m.says(anycast4, fabric.ReasonDamped, "became unhealthy 3 times")
	if rest := time.Until(r.Copies[0].Until); rest < 20*time.Second || rest > dampLongest {
		t.Errorf("used again in %s", rest)
	}
	if got, _ := s.frr.Node.Gateways(anycast4); len(got) > 0 {
		t.Errorf("announced: %v", got)
	}
	m.value.Announcements[0].Keep = 1
	m.value.Revision++
	m.set()
	s.gateways(anycast4, "10.98.0.11")
	bgptest.Eventually(t, time.Second, func() string {
		if r := m.route(anycast4); !r.Up || !r.Copies[0].Kept || r.Copies[0].Healthy {
			return fmt.Sprintf("%+v", r)
		}
		return ""
	})
}

// TestDrainLeadsTrafficAwayFirst asks the service again and again while its only copy is drained: the router has no route any more before the
// member stops bringing traffic to the copy.
func TestDrainLeadsTrafficAwayFirst(t *testing.T) {
	s := newSite(t, 1)
	m := s.members[0]
	m.start()
	m.set()
	watch := s.frr.Node.Watch()
	for _, prefix := range []string{anycast4, anycast6} {
		watch.Until(prefix, true, 10*time.Second)
	}
	for i := range m.value.Announcements {
		m.value.Announcements[i].Copies[0].Drain, m.value.Announcements[i].Copies[0].Linger = fabric.ReasonDraining, 500
	}
	m.value.Revision++
	inside := m.node.Watch()
	for _, prefix := range []string{anycast4, anycast6} {
		inside.Until(prefix, true, time.Second)
	}
	began := time.Now()
	m.set()
	for _, prefix := range []string{anycast4, anycast6} {
		away, gone := watch.Until(prefix, false, 5*time.Second), inside.Until(prefix, false, 5*time.Second)
		t.Logf("%s: withdrawn from the router after %s, kernel route gone after %s", prefix, away.Sub(began), gone.Sub(began))
		if after := gone.Sub(began); after < 450*time.Millisecond || !away.Before(gone) {
			t.Errorf("%s: the kernel route went after %s, the router's after %s", prefix, after, away.Sub(began))
		}
	}
	r := m.says(anycast4, fabric.ReasonDraining, "about to be stopped")
	bgptest.Eventually(t, time.Second, func() string {
		if r = m.route(anycast4); len(r.Peers) > 0 {
			return fmt.Sprintf("a peer still has it: %+v", r)
		}
		return ""
	})
}
