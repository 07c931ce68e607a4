package unnumbered

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var (
	tor     = netip.MustParseAddr("fe80::1%eth1")
	other   = netip.MustParseAddr("fe80::2%eth1")
	nothing netip.Addr
)

// clock drives a machine in virtual time.
type clock struct {
	*Machine
	now       time.Time
	advertise int
	solicit   int
}

func newClock() *clock {
	return &clock{Machine: &Machine{}, now: time.Unix(1000, 0)}
}

// pass lets time pass; answers are the routers that answer solicitations.
func (c *clock) pass(d time.Duration, answers ...netip.Addr) {
	for end := c.now.Add(d); ; {
		at, ok := c.Deadline()
		if !ok || at.After(end) {
			c.now = end
			return
		}
		if at.After(c.now) {
			c.now = at
		}
		advertise, solicit := c.Expire(c.now)
		if advertise {
			c.advertise++
		}
		if solicit {
			c.solicit++
			for _, a := range answers {
				c.Recv(c.now, a, Advertisement)
			}
		}
	}
}

func (c *clock) is(t *testing.T, neighbour, rival netip.Addr) {
	t.Helper()
	if n, r := c.Neighbour(); n != neighbour || r != rival {
		t.Fatalf("neighbour %s, rival %s; want %s and %s", n, r, neighbour, rival)
	}
}

func TestFirstRouterStays(t *testing.T) {
	c := newClock()
	c.Up(c.now, nothing)
	c.pass(0)
	if c.advertise != 1 || c.solicit != 1 {
		t.Fatalf("at once: %d advertisements, %d solicitations", c.advertise, c.solicit)
	}
	c.Recv(c.now, tor, Advertisement)
	c.is(t, tor, nothing)
	c.Recv(c.now, other, Advertisement)
	c.is(t, tor, other)
	// Both answer whenever they are asked: for hours, nothing changes.
	for range 1000 {
		c.Recv(c.now, other, Advertisement)
		c.pass(10*time.Second, other, tor)
		c.is(t, tor, other)
	}
	// The second falls silent.
	c.pass(time.Minute, tor)
	c.is(t, tor, nothing)
}

func TestSilentNeighbourGoes(t *testing.T) {
	c := newClock()
	c.Up(c.now, nothing)
	c.Recv(c.now, tor, Advertisement)
	c.pass(silence + (probes-1)*burstInterval)
	c.is(t, tor, nothing)
	c.pass(2 * burstInterval)
	c.is(t, nothing, nothing)
	c.solicit = 0
	c.pass(time.Minute)
	if c.solicit < 15 || c.solicit > 30 {
		t.Errorf("%d solicitations in a minute without a neighbour", c.solicit)
	}
	c.Recv(c.now, other, Advertisement)
	c.is(t, other, nothing)
}

func TestSuccessorIsTakenSoon(t *testing.T) {
	c := newClock()
	c.Up(c.now, nothing)
	c.Recv(c.now, tor, Advertisement)
	c.Alive(c.now, true)
	// An established session is a sign of life: nobody asks.
	c.solicit = 0
	c.pass(time.Hour)
	if c.is(t, tor, nothing); c.solicit != 0 {
		t.Errorf("%d solicitations with an established session", c.solicit)
	}
	// Another router takes its place: seconds after the session was lost it is the neighbour.
	c.Recv(c.now, other, Advertisement)
	c.is(t, tor, other)
	c.Alive(c.now, false)
	c.pass((probes+1)*burstInterval, other)
	c.is(t, other, nothing)
}

func TestBusyNeighbourIsNotGivenUp(t *testing.T) {
	c := newClock()
	c.Up(c.now, nothing)
	c.Recv(c.now, tor, Advertisement)
	c.Alive(c.now, true)
	c.Alive(c.now, false)
	c.Recv(c.now, other, Advertisement)
	c.pass(3 * time.Second)
	c.Recv(c.now, tor, Advertisement) // routers may wait 3 s
	c.pass(silence - time.Second)
	if n, _ := c.Neighbour(); n != tor {
		t.Error("it was given up")
	}
}

func TestRememberedNeighbourHasToAnswer(t *testing.T) {
	for _, answers := range []bool{true, false} {
		c := newClock()
		c.Up(c.now, tor)
		c.is(t, tor, nothing)
		if answers {
			c.pass((probes+1)*burstInterval, tor)
			c.is(t, tor, nothing)
		} else {
			c.pass((probes + 1) * burstInterval)
			c.is(t, nothing, nothing)
		}
	}
}

func TestLinkDownForgets(t *testing.T) {
	c := newClock()
	c.Up(c.now, nothing)
	c.Recv(c.now, tor, Advertisement)
	c.Down()
	c.is(t, nothing, nothing)
	if _, ok := c.Deadline(); ok {
		t.Error("there is something to do without a link")
	}
	c.Recv(c.now, tor, Advertisement)
	c.Alive(c.now, true)
	c.is(t, nothing, nothing)
}

// The link comes back before it is known that the session is over: the search goes on all the same.
func TestLateWordOfTheSession(t *testing.T) {
	c := newClock()
	c.Up(c.now, nothing)
	c.Alive(c.now, true)
	c.pass(0)
	c.solicit = 0
	c.pass(5 * time.Second)
	if c.solicit != 5 {
		t.Errorf("%d solicitations in 5 s", c.solicit)
	}
	c.Alive(c.now, false)
	c.pass(0, tor)
	c.is(t, tor, nothing)
}

func TestAdvertisements(t *testing.T) {
	c := newClock()
	c.Up(c.now, nothing)
	counts := []string{}
	for range 4 {
		c.advertise = 0
		c.pass(10*time.Second, tor)
		counts = append(counts, fmt.Sprint(c.advertise))
	}
	if got := strings.Join(counts, " "); got != "12 1 1 1" {
		t.Errorf("advertisements in each 10 s: %s", got)
	}
	// Solicitations are answered, but a flood of them is not.
	c.advertise = 0
	for range 1000 {
		c.Recv(c.now, other, Solicitation)
		c.pass(time.Millisecond)
	}
	if c.advertise < 1 || c.advertise > 2 {
		t.Errorf("%d advertisements in answer to 1000 solicitations in a second", c.advertise)
	}
	c.is(t, tor, nothing)
}

func TestStrangersAreNotHeard(t *testing.T) {
	c := newClock()
	c.Up(c.now, nothing)
	for _, a := range []string{"2001:db8::1", "::", "ff02::1", "192.0.2.1"} {
		c.Recv(c.now, netip.MustParseAddr(a), Advertisement)
	}
	c.is(t, nothing, nothing)
}
