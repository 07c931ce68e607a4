package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"netfabric/compute/busyboximage"
	"netfabric/fabric"
	"netfabric/lab"
	"netfabric/lab/probe"
)

// The anycast service of the demo, in documentation prefixes (RFC 5737, RFC 3849).
const (
	service4 = "203.0.113.80"
	service6 = "2001:db8:80::80"
)

var members = []string{"n1", "n2", "n3"}

// demo is the lab with what is printed about it.
type demo struct {
	name, bin string
	lab       *lab.Lab
	out       io.Writer
	begun     time.Time
}

func runDemo(ctx context.Context, out io.Writer, name, bin string) error {
	d := &demo{name: name, bin: bin, out: out, begun: time.Now()}
	for _, s := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"start three members, two FRR routers, a client and their switches in namespaces", d.start},
		{"form a cluster of three", d.cluster},
		{"define storage, a network, an image and two BGP peers, each in both families", d.define},
		{"launch an anycast service with a copy on each member", d.launch},
		{"wait until both routers have three next hops for it, in both families", d.wait(3)},
		{"wait until every prefix has been announced to every peer", d.announced},
		{"wait until BFD watches all twelve sessions, with 3 × 50 ms", d.watched},
	} {
		if err := d.step(ctx, s.what, s.do); err != nil {
			return err
		}
	}
	if err := d.show(ctx); err != nil {
		return err
	}
	if err := d.breakThings(ctx); err != nil {
		return err
	}
	d.next()
	return nil
}

// step does one thing and prints how long it took.
func (d *demo) step(ctx context.Context, what string, do func(context.Context) error) error {
	fmt.Fprintf(d.out, "[%6.1f s] %s ... ", time.Since(d.begun).Seconds(), what)
	start := time.Now()
	if err := do(ctx); err != nil {
		fmt.Fprintln(d.out, "failed")
		return fmt.Errorf("%s: %w", what, err)
	}
	fmt.Fprintf(d.out, "%.1f s\n", time.Since(start).Seconds())
	return nil
}

func (d *demo) start(ctx context.Context) error {
	bin, err := filepath.Abs(d.bin)
	if err != nil {
		return err
	}
	d.lab, err = lab.Up(ctx, topology, lab.WithName(d.name), lab.WithBinDir(bin), lab.WithReconfigure(), lab.WithProgress(io.Discard))
	return err
}

// on runs a command in a node and gives its output.
func (d *demo) on(ctx context.Context, node string, args ...string) (string, error) {
	n, err := d.lab.Node(node)
	if err != nil {
		return "", err
	}
	return n.Exec(ctx, args...)
}

// ctl runs fabricctl commands on the first member, one a line.
func (d *demo) ctl(ctx context.Context, script string) error {
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if _, err := d.on(ctx, "n1", append([]string{"fabricctl"}, strings.Fields(line)...)...); err != nil {
			return fmt.Errorf("fabricctl %s: %w", line, err)
		}
	}
	return nil
}

func (d *demo) cluster(ctx context.Context) error {
	if err := d.ctl(ctx, "cluster bootstrap n1 --address 10.66.0.1:8443"); err != nil {
		return err
	}
	for i, member := range members[1:] {
		token, err := d.on(ctx, "n1", "fabricctl", "cluster", "add", member)
		if err != nil {
			return err
		}
		if _, err := d.on(ctx, member, "fabricctl", "cluster", "join", strings.TrimSpace(token), "--address", fmt.Sprintf("10.66.0.%d:8443", i+2)); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) define(ctx context.Context) error {
	n1, err := d.lab.Node("n1")
	if err != nil {
		return err
	}
	const image = "/tmp/busybox.tar.gz"
	file, err := n1.Path(image)
	if err != nil {
		return err
	}
	if err := buildImage(file); err != nil {
		return err
	}
	return d.ctl(ctx, `
		config set core.bgp_asn=65100
		storage create local dir
		network create fabbr0 ipv4.address=10.80.0.1/24 ipv6.address=2001:db8:10::1/64
		profile device add default root disk path=/ pool=local
		profile device add default eth0 nic network=fabbr0
		image import `+image+` --alias busybox
		bgp peer add r1-v4 192.0.2.1 65000 --export own --hold-time 3 --bfd-interval 50
		bgp peer add r2-v4 192.0.2.2 65000 --export own --hold-time 3 --bfd-interval 50
		bgp peer add r1-v6 2001:db8:2::1 65000 --export own --hold-time 3 --bfd-interval 50
		bgp peer add r2-v6 2001:db8:2::2 65000 --export own --hold-time 3 --bfd-interval 50
		anycast create web `+service4+`/32 `+service6+`/128 --check http:80 --interval 500ms
	`)
}

func (d *demo) launch(ctx context.Context) error {
	for i, member := range members {
		if err := d.ctl(ctx, fmt.Sprintf("launch busybox web%d --config anycast=web --target %s", i+1, member)); err != nil {
			return err
		}
	}
	return nil
}

// wait makes a step that ends when both routers have so many next hops for the service in the kernel, in both families.
func (d *demo) wait(want int) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		for _, router := range []string{"r1", "r2"} {
			for _, family := range []string{"-4", "-6"} {
				for {
					have, err := d.nextHops(ctx, router, family)
					if err != nil {
						return fmt.Errorf("%s: %w", router, err)
					}
					if have == want {
						break
					}
					select {
					case <-ctx.Done():
						return fmt.Errorf("router %s (ip %s): %d next hops, want %d: %w", router, family, have, want, ctx.Err())
					case <-time.After(20 * time.Millisecond):
					}
				}
			}
		}
		return nil
	}
}

// announced waits until the cluster says that every peer of a family has been told of every prefix of it.
func (d *demo) announced(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		text, err := d.on(ctx, "n1", "fabricctl", "route", "list", "--format", "json")
		if err != nil {
			return err
		}
		var routes []fabric.RouteState
		if err := json.Unmarshal([]byte(text), &routes); err != nil {
			return fmt.Errorf("read fabricctl route list: %w", err)
		}
		waits := slices.IndexFunc(routes, func(r fabric.RouteState) bool {
			return !r.Up || len(r.Peers) == 0 || slices.ContainsFunc(r.Peers, func(p fabric.RoutePeer) bool { return !p.Announced })
		})
		if waits < 0 && len(routes) > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not everything is announced after 30 s; see fabricctl route list: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// watched waits until BFD is up on all sessions with the timers that were asked for.
func (d *demo) watched(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		text, err := d.on(ctx, "n1", "fabricctl", "bgp", "summary", "--format", "json")
		if err != nil {
			return err
		}
		var sessions []struct {
			BFD *struct {
				State     string
				Detection int
			}
		}
		if err := json.Unmarshal([]byte(text), &sessions); err != nil {
			return fmt.Errorf("read fabricctl bgp summary: %w", err)
		}
		up := 0
		for _, s := range sessions {
			if s.BFD != nil && s.BFD.State == "up" && s.BFD.Detection == 150 {
				up++
			}
		}
		if up == 4*len(members) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d: %w\n%s", up, 4*len(members), ctx.Err(), text)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// nextHops counts the next hops of the service in a router's kernel table.
func (d *demo) nextHops(ctx context.Context, router, family string) (int, error) {
	address := service4
	if family == "-6" {
		address = service6
	}
	text, err := d.on(ctx, router, "ip", "-json", family, "route", "show", address)
	if err != nil {
		return 0, err
	}
	var routes []struct {
		Gateway  string
		NextHops []json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &routes); err != nil {
		return 0, fmt.Errorf("read ip route: %w", err)
	}
	count := 0
	for _, r := range routes {
		count += len(r.NextHops)
		if r.Gateway != "" {
			count++
		}
	}
	return count, nil
}

// show prints what an operator would look at.
func (d *demo) show(ctx context.Context) error {
	for _, c := range []struct{ node, command string }{
		{"n1", "fabricctl cluster list"},
		{"n1", "fabricctl list"},
		{"n1", "fabricctl bgp summary --format compact"},
		{"n1", "fabricctl route list --format compact"},
	} {
		text, err := d.on(ctx, c.node, strings.Fields(c.command)...)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.out, "\n%s# %s\n%s", c.node, c.command, text)
	}
	for _, command := range []string{"show ip route " + service4 + "/32", "show ipv6 route " + service6 + "/128"} {
		text, err := d.on(ctx, "r1", "vtysh", "-c", command)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.out, "\nr1# vtysh -c '%s'\n%s", command, text)
	}
	fmt.Fprintln(d.out)
	return nil
}

// breakThings kills an instance and then a member under a client that keeps asking, and prints what it lost.
func (d *demo) breakThings(ctx context.Context) error {
	p, err := d.startProbe(ctx)
	if err != nil {
		return err
	}
	defer p.stop()
	if err := d.step(ctx, "let the client ask for 2 s, 100 times a second, IPv4 and IPv6 in turn", p.settle); err != nil {
		return err
	}
	if err := d.killInstance(ctx, p); err != nil {
		return err
	}
	if err := d.step(ctx, "wait for the instance to be restarted and announced again", d.wait(3)); err != nil {
		return err
	}
	if err := d.killMember(ctx, p); err != nil {
		return err
	}
	if err := d.step(ctx, "turn the member on again and wait for its routes", d.rejoin); err != nil {
		return err
	}
	samples, err := p.stop()
	if err != nil {
		return err
	}
	all := probe.Since(samples, 0, probe.Now())
	fmt.Fprintf(d.out, "\nIn all the client sent %d requests and lost %d; %s answered.\n", all.Sent, all.Lost, strings.Join(all.From, ", "))
	return nil
}

func (d *demo) killInstance(ctx context.Context, p *running) error {
	pid, err := d.instancePID(ctx, "web2")
	if err != nil {
		return err
	}
	routes, err := d.watchRoutes(ctx)
	if err != nil {
		return err
	}
	defer routes.stop()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	text, err := d.on(ctx, "n2", self, "kill", fmt.Sprint(pid))
	if err != nil {
		return err
	}
	at, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return err
	}
	event := time.Duration(at)
	withdrawn, err := routes.drop(ctx, event)
	if err != nil {
		return fmt.Errorf("next hop to the killed instance: %w", err)
	}
	r, err := p.since(ctx, event, 1500*time.Millisecond)
	if err != nil {
		return err
	}
	d.tell("kill -9 of instance web2", withdrawn-event, "", r)
	return nil
}

func (d *demo) killMember(ctx context.Context, p *running) error {
	n3, err := d.lab.Node("n3")
	if err != nil {
		return err
	}
	routes, err := d.watchRoutes(ctx)
	if err != nil {
		return err
	}
	defer routes.stop()
	event := probe.Now()
	if err := n3.Kill(ctx); err != nil {
		return err
	}
	withdrawn, err := routes.drop(ctx, event)
	if err != nil {
		return fmt.Errorf("next hop to the killed member: %w", err)
	}
	r, err := p.since(ctx, event, 5*time.Second)
	if err != nil {
		return err
	}
	d.tell("power cut of member n3", withdrawn-event, " (BFD with 3 × 50 ms)", r)
	return nil
}

// tell prints what a fault has cost.
func (d *demo) tell(what string, withdrawn time.Duration, bound string, r probe.Report) {
	fmt.Fprintf(d.out, "           %s: its next hop left r1's kernel after %.1f ms%s;\n           the client lost %d of %d requests, the last one sent %d ms after the fault\n",
		what, withdrawn.Seconds()*1000, bound, r.Lost, r.Sent, r.Outage.Milliseconds())
}

func (d *demo) rejoin(ctx context.Context) error {
	n3, err := d.lab.Node("n3")
	if err != nil {
		return err
	}
	if err := n3.Boot(ctx); err != nil {
		return err
	}
	if err := d.wait(3)(ctx); err != nil {
		return err
	}
	return d.watched(ctx)
}

// instancePID is the pid of an instance's init as its member sees it.
func (d *demo) instancePID(ctx context.Context, name string) (int64, error) {
	text, err := d.on(ctx, "n1", "fabricctl", "list", name, "--format", "json")
	if err != nil {
		return 0, err
	}
	var list []struct{ State struct{ Pid int64 } }
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return 0, fmt.Errorf("read fabricctl list: %w", err)
	}
	if len(list) != 1 || list[0].State.Pid == 0 {
		return 0, fmt.Errorf("instance %s does not run", name)
	}
	return list[0].State.Pid, nil
}

func (d *demo) next() {
	self, down := "go run ./lab/cmd/lab exec "+topology, "make demo-down"
	if d.name != defaultName {
		self, down = "go run ./lab/cmd/lab exec --name "+d.name+" "+topology, "go run ./lab/cmd/demo down --name "+d.name
	}
	fmt.Fprintf(d.out, `
It stays up. What to try next:
  %[1]s n1 fabricctl list
  %[1]s n1 fabricctl route list
  %[1]s n1 fabricctl exec web1 -- ip address
  %[1]s n1 fabricctl stop web3        # and see its routes go:
  %[1]s r1 vtysh -c 'show bgp summary'
  %[1]s client wget -q -O - http://%[2]s/
  %[1]s n2 fabricctl monitor
  %[3]s                        # removes all of it
`, self, service4, down)
}

func buildImage(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := busyboximage.Build(f, busyboximage.Options{HTTP: true}); err != nil {
		return fmt.Errorf("build image %s: %w", file, err)
	}
	return f.Close()
}
