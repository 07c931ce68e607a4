package vrrp

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// frr is FRR's vrrpd in a namespace, for both families. It needs the interfaces with the virtual MACs made by hand.
type frr struct {
	l            *link
	n, dir       string
	zebra, vrrpd *exec.Cmd
}

func (l *link) frr(n string, priority int, interval time.Duration, extra ...string) *frr {
	l.t.Helper()
	account, err := user.Lookup("frr")
	if err != nil {
		l.t.Fatal("FRR is not installed: run make deps")
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		l.t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "vrrpt-") // t.TempDir is not accessible to the user that the daemons change to
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { os.RemoveAll(dir) })
	local := VirtualLinkLocal(51).String()
	if !l.try(n, "ip link show frr4") {
		l.in(n,
			"ip link add frr4 link eth0 type macvlan mode bridge", "ip link set frr4 address "+vmac4, "sysctl -qw net.ipv6.conf.frr4.disable_ipv6=1", "ip addr add "+gateway4+"/24 dev frr4",
			"ip link add frr6 link eth0 type macvlan mode bridge", "ip link set frr6 address "+vmac6, "sysctl -qw net.ipv6.conf.frr6.addr_gen_mode=1",
			"ip addr add "+local+"/64 dev frr6 nodad", "ip addr add "+gateway6+"/64 dev frr6 nodad", "sysctl -qw net.ipv6.conf.frr6.accept_dad=0",
			"sysctl -qw net.ipv4.conf.frr4.rp_filter=2", "sysctl -qw net.ipv4.conf.frr4.arp_ignore=1", "sysctl -qw net.ipv4.conf.eth0.arp_ignore=1",
			"ip link set frr4 up", "ip link set frr6 up")
	}
	lines := append([]string{"vrrp 51 version 3", fmt.Sprintf("vrrp 51 priority %d", priority), fmt.Sprintf("vrrp 51 advertisement-interval %d", interval.Milliseconds()),
		"vrrp 51 ip " + gateway4, "vrrp 51 ipv6 " + local, "vrrp 51 ipv6 " + gateway6}, extra...)
	config := "interface eth0\n " + strings.Join(lines, "\n ") + "\n!\n"
	if err := os.WriteFile(filepath.Join(dir, "vrrpd.conf"), []byte(config), 0o644); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Chown(dir, uid, -1); err != nil {
		l.t.Fatal(err)
	}
	f := &frr{l: l, n: n, dir: dir}
	f.zebra = f.start("zebra")
	f.vrrpd = f.start("vrrpd", "-f", filepath.Join(dir, "vrrpd.conf"))
	return f
}

func (f *frr) start(name string, more ...string) *exec.Cmd {
	f.l.t.Helper()
	args := []string{"--net=/run/netns/" + f.l.name(f.n), "/usr/lib/frr/" + name, "-A", "127.0.0.1", "-z", filepath.Join(f.dir, "zserv"),
		"--vty_socket", f.dir, "-i", filepath.Join(f.dir, name+".pid"), "--log", "stdout"}
	cmd := exec.Command("nsenter", append(args, more...)...)
	if os.Getenv("VRRPT_LOG") != "" {
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	}
	if err := cmd.Start(); err != nil {
		f.l.t.Fatal(err)
	}
	f.l.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	wait(f.l.t, 10*time.Second, name+" to answer", func() bool { _, err := os.Stat(filepath.Join(f.dir, name+".vty")); return err == nil })
	return cmd
}

// states are what vrrpd says of IPv4 and IPv6: Master, Backup or Initialize.
func (f *frr) states() (four, six string) {
	out, err := exec.Command("nsenter", "--net=/run/netns/"+f.l.name(f.n), "vtysh", "--vty_socket", f.dir, "-d", "vrrpd", "-c", "show vrrp json").Output()
	var routers []struct {
		V4 struct {
			Status string `json:"status"`
		} `json:"v4"`
		V6 struct {
			Status string `json:"status"`
		} `json:"v6"`
	}
	if err != nil || json.Unmarshal(out, &routers) != nil || len(routers) == 0 {
		return "", ""
	}
	return routers[0].V4.Status, routers[0].V6.Status
}

func (f *frr) waitFor(state string) {
	f.l.t.Helper()
	var four, six string
	end := time.Now().Add(15 * time.Second)
	for four, six = f.states(); four != state || six != state; four, six = f.states() {
		if time.Now().After(end) {
			out, _ := exec.Command("nsenter", "--net=/run/netns/"+f.l.name(f.n), "vtysh", "--vty_socket", f.dir, "-d", "vrrpd", "-c", "show vrrp").CombinedOutput()
			f.l.t.Fatalf("vrrpd in %s is %q and %q, not %s\n%s", f.n, four, six, state, out)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (f *frr) signal(s syscall.Signal) { _ = f.vrrpd.Process.Signal(s) }

// stop ends vrrpd, which says a farewell.
func (f *frr) stop() {
	f.signal(syscall.SIGTERM)
	_ = f.vrrpd.Wait()
}

// measureDeath begins to watch what a client loses when the Active in a namespace dies. The function that it gives waits until the client is served
// again, tells for how long it was not, and compares with what it may be at most. The host is muted first, and its cable stays: the kernel of a dead
// process would go on answering, and were the cable cut, the switch would flood what is for the virtual MAC.
func (l *link) measureDeath(active string) (ended func(what string, formula time.Duration)) {
	l.t.Helper()
	probes := map[Family]*probe{IPv4: l.probe(service4), IPv6: l.probe(service6)}
	for _, p := range probes {
		p.waitAnswered(l.t, time.Now())
	}
	if at := l.port(vmac4); at != active {
		l.t.Errorf("the virtual MAC is at %s", at)
	}
	return func(what string, formula time.Duration) {
		l.t.Helper()
		now := time.Now()
		for f, p := range probes {
			p.waitAnswered(l.t, now)
			_, lost, gap := p.end()
			l.t.Logf("%s, %s: %d ms lost, longest gap %s, formula %s", what, f, lost, gap, formula)
			if lost == 0 || gap > formula+2*time.Second { // another implementation, on a machine that others use as well
				l.t.Errorf("%s, %s: a gap of %s", what, f, gap)
			}
		}
	}
}

// TestFRR is every way in which mastery goes between vrrpd of FRR and us. It takes no priority above 254: there is no owner to be had of it.
func TestFRR(t *testing.T) {
	interval := 100 * time.Millisecond

	t.Run("it is better: preempts, leaves, dies", func(t *testing.T) {
		t.Parallel()
		l := newLink(t, 2)
		d := l.driver("r2")
		d.set(testGateway(100, interval))
		d.both(Active)
		f := l.frr("r1", 150, interval)
		f.waitFor("Master")
		d.both(Backup)
		d.clean()
		f.stop()
		d.both(Active)
		l.oneAnswer("r2")
		f = l.frr("r1", 150, interval)
		f.waitFor("Master")
		d.both(Backup)
		lost := l.measureDeath("r1")
		l.mute("r1")
		f.signal(syscall.SIGKILL)
		d.both(Active)
		lost("we take over from vrrpd", WorstOutage(interval, 100))
		if s := d.router(IPv4); s.Reason != ReasonNoActive {
			t.Errorf("reason %s", s.Reason)
		}
		d.clean()
	})

	t.Run("we are better: preempt, hand over, leave, die", func(t *testing.T) {
		t.Parallel()
		l := newLink(t, 2)
		f := l.frr("r1", 100, interval)
		f.waitFor("Master")
		d := l.driver("r2")
		d.set(testGateway(150, interval))
		d.both(Active)
		f.waitFor("Backup")
		d.clean()
		if a := d.order(order{Handover: "gw"}); a.Message != "" {
			t.Fatal(a.Message)
		}
		d.both(Backup)
		f.waitFor("Master")
		d.set(testGateway(151, interval))
		d.both(Active)
		f.waitFor("Backup")
		d.order(order{Close: -1})
		f.waitFor("Master")
		again := l.driver("r2")
		again.set(testGateway(151, interval))
		again.both(Active)
		f.waitFor("Backup")
		again.clean()
		lost := l.measureDeath("r2")
		l.mute("r2")
		again.kill()
		f.waitFor("Master")
		lost("vrrpd takes over from us", WorstOutage(interval, 100))
	})

	t.Run("without preempt", func(t *testing.T) {
		t.Parallel()
		l := newLink(t, 2)
		f := l.frr("r1", 100, interval)
		f.waitFor("Master")
		d := l.driver("r2")
		g := testGateway(150, interval)
		g.NoPreempt = true
		d.set(g)
		for _, family := range []Family{IPv4, IPv6} { // longer than it would take to preempt
			wait(t, 5*time.Second, "adverts", func() bool { return d.router(family).In >= 12 })
		}
		d.both(Backup)
		f.stop()
		d.both(Active)
		f = l.frr("r1", 200, interval, "no vrrp 51 preempt")
		f.waitFor("Backup")
		before := d.router(IPv4).Out
		wait(t, 5*time.Second, "time enough to preempt", func() bool { return d.router(IPv4).Out > before+12 })
		d.both(Active)
		d.clean()
	})

	t.Run("equal priority", func(t *testing.T) {
		t.Parallel()
		l := newLink(t, 2)
		f := l.frr("r1", 100, interval)
		f.waitFor("Master")
		d := l.driver("r2")
		d.set(testGateway(100, interval))
		wait(t, 5*time.Second, "adverts", func() bool { return d.router(IPv4).In >= 12 && d.router(IPv6).In >= 12 })
		d.both(Backup)
		f.signal(syscall.SIGSTOP)
		d.both(Active)
		f.signal(syscall.SIGCONT) // both are Active: of IPv4 the higher address stays, and that is ours
		wait(t, 10*time.Second, "vrrpd yields", func() bool { four, _ := f.states(); return four == "Backup" })
		d.waitFor(IPv4, Active)
	})
}
