package system

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"netfabric/lab"
	"netfabric/lab/probe"
)

// benchClients are behind the routers of benchTopology, in the same order.
var benchClients = []string{"c1", "c2"}

// subject is who announces a service, three times, and loses one of them.
type subject struct {
	name, service string
	node, port    string // that is cut off, and its port of the switch
	ready         func() error
}

// BenchmarkOutage cuts the power of one of three members that announce a service, and in another round its cable, where nobody loses the
// carrier. It measures when each router's kernel has one next hop less, and for how long a client behind it loses requests, 200 a second. In turns
// with the members, BIRD speakers in the same places lose one of theirs. BFD of 3 × 50 ms watches all sessions.
func BenchmarkOutage(b *testing.B) {
	w := worldOf(b, benchTopology)
	image := w.image(b, "n1", "/tmp/busybox.tar.gz")
	w.script(b, "n1", `
		config set core.bgp_asn=65100
		storage create local dir
		network create fabbr0 ipv4.address=10.80.0.1/24 ipv6.address=none
		profile device add default root disk path=/ pool=local
		profile device add default eth0 nic network=fabbr0
		image import `+image+` --alias busybox
		bgp peer add r1 192.0.2.1 65000 --export own --hold-time 3
		bgp peer add r2 192.0.2.2 65000 --export own --hold-time 3
		query -X PATCH -d {"bfd":{"interval":50,"multiplier":3}} /1.0/bgp/peers/r1
		query -X PATCH -d {"bfd":{"interval":50,"multiplier":3}} /1.0/bgp/peers/r2
		anycast create web `+service4+`/32 --check http:80 --interval 500ms
	`)
	for i, member := range members {
		w.ctl(b, "n1", fmt.Sprintf("launch busybox web%d --config anycast=web --target %s", i+1, member))
	}
	subjects := []subject{
		{"member", service4, "n3", "eth5", func() error { return w.sessionsUp(b, 6) }},
		{"bird", "203.0.113.81", "b3", "eth8", func() error { return w.birdUp(b, "b3") }},
	}
	faults := map[string]func(s subject) (mend func()){
		"power": func(s subject) func() {
			if err := w.lab.MustNode(b, s.node).Kill(b.Context()); err != nil {
				b.Fatal(err)
			}
			return func() {
				if err := w.lab.MustNode(b, s.node).Boot(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		},
		"link": func(s subject) func() {
			sw := w.lab.MustNode(b, "sw-up")
			bridge := strings.TrimSpace(sw.MustExec(b, "sh", "-c", "basename $(readlink /sys/class/net/"+s.port+"/master) && ip link set "+s.port+" nomaster"))
			return func() { sw.MustExec(b, "ip", "link", "set", s.port, "master", bridge) }
		},
	}
	took := map[string][]time.Duration{}
	for b.Loop() {
		for _, fault := range []string{"power", "link"} {
			for _, s := range subjects {
				w.cut(b, s, faults[fault], func(router, what string, d time.Duration) {
					name := strings.Join([]string{fault, s.name, router, what}, "-")
					took[name] = append(took[name], d)
				})
			}
		}
	}
	for name, all := range took {
		metrics(b, name, all)
	}
	b.ReportMetric(0, "ns/op") // of no meaning here
}

// cut cuts a subject off once all is well, tells what that cost behind each router, and mends it.
func (w *world) cut(b *testing.B, s subject, fault func(subject) (mend func()), each func(router, what string, d time.Duration)) {
	b.Helper()
	lab.WaitFor(b, 60*time.Second, s.name+" to be well", func() error {
		for _, r := range benchRouters {
			if have := w.nextHops(b, r.name, "-4", s.service); have != 3 {
				return fmt.Errorf("%s has %d next hops", r.name, have)
			}
		}
		return s.ready()
	})
	var clients []*client
	var watches []*watch
	for i, r := range benchRouters {
		clients = append(clients, w.startClientAt(b, benchClients[i], "http://"+s.service+"/"))
		watches = append(watches, w.watchNextHops(b, r.name, s.service+"/32", 3))
	}
	at := probe.Now()
	mend := fault(s)
	for i, r := range benchRouters {
		each(r.kind, "gone", watches[i].until(b, func(n probe.NextHops) bool { return n.Count < 3 }).At-at)
		each(r.kind, "outage", clients[i].since(b, at, time.Second).Outage)
		clients[i].stop()
		watches[i].stop()
	}
	mend()
}

// sessionsUp tells whether so many sessions are established and watched by BFD at the timers that were set.
func (w *world) sessionsUp(b *testing.B, count int) error {
	type session struct {
		State string
		BFD   *struct {
			State     string
			Detection int
		}
	}
	sessions, err := ctlJSON[[]session](b, w, "n1", "bgp summary")
	if err != nil {
		return err
	}
	up := 0
	for _, s := range sessions {
		if s.State == "established" && s.BFD != nil && s.BFD.State == "up" && s.BFD.Detection == 150 {
			up++
		}
	}
	if up != count {
		return fmt.Errorf("%d of %d sessions are up", up, count)
	}
	return nil
}

// birdUp is sessionsUp for a BIRD speaker and both routers.
func (w *world) birdUp(b *testing.B, node string) error {
	text := w.lab.MustNode(b, node).MustExec(b, "birdc", "-s", "/run/bird/bird.ctl", "show", "bfd", "sessions")
	if strings.Count(text, " Up ") != 2 || strings.Count(text, "0.150") != 2 {
		return fmt.Errorf("BFD of %s:\n%s", node, text)
	}
	return nil
}
