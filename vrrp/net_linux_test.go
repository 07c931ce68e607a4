package vrrp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

func slugOf(err error) string { return fabric.ReasonOf(err) }

// TestMain lets the test binary be the router process of a namespace, so that it can be killed and stopped for real.
func TestMain(m *testing.M) {
	if os.Getenv("VRRPT_BUSY") != "" { // goroutines that keep every processor of the Go runtime busy
		for range runtime.NumCPU() {
			go func() {
				var spins atomic.Uint64
				for {
					spins.Add(1)
				}
			}()
		}
	}
	if os.Getenv("VRRPT_DRIVER") != "" {
		if err := drive(); err != nil {
			fmt.Fprintln(os.Stderr, "driver:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// order is a line on the driver's standard input, answer the line that it gives back.
type order struct {
	Set      *[]Gateway
	Handover string
	To       []netip.Addr
	Close    time.Duration
}

type answer struct {
	Reason  string
	Message string
	State   ManagerState
	Spent   time.Duration // CPU time of the process
}

func drive() error {
	m, err := NewManager(os.Getenv("VRRPT_STATE"), nil)
	if err != nil {
		return err
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), max(o.Close, 10*time.Second))
		err := error(nil)
		switch {
		case o.Set != nil:
			err = m.Set(*o.Set)
		case o.Handover != "":
			err = m.Handover(ctx, o.Handover, o.To...)
		case o.Close > 0:
			err = m.Close(ctx)
		case o.Close < 0:
			cancel()
			err = m.Close(ctx)
		}
		cancel()
		a := answer{State: m.State()}
		if err != nil {
			a.Reason, a.Message = slugOf(err), err.Error()
		}
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			return err
		}
		a.Spent = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

// link is a switch with routers r1, r2… and a client c on it, each in a network namespace.
//
//	r1 .2 ──┐
//	r2 .3 ──┤ sw ── c .100     192.0.2.0/24, 2001:db8::/64
//	  …   ──┘
//
// Every router has 198.51.100.1 and 2001:db8:f::1 on its loopback; the client reaches them by the gateway.
type link struct {
	t      testing.TB
	prefix string
	state  string   // a directory for each router
	launch []string // our router processes are started by this command
}

var linkNumber atomic.Int32

const (
	service4, service6 = "198.51.100.1", "2001:db8:f::1"
	gateway4, gateway6 = "192.0.2.1", "2001:db8::1"
	vmac4              = "00:00:5e:00:01:33"
	vmac6              = "00:00:5e:00:02:33"
)

func newLink(t testing.TB, routers int) *link {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	l := &link{t: t, state: t.TempDir(), prefix: fmt.Sprintf("vrrpt-%d-%d", os.Getpid(), linkNumber.Add(1))}
	l.namespace("sw")
	l.in("sw", "ip link add br0 type bridge mcast_snooping 0 forward_delay 0", "ip link set br0 up")
	names := []string{"c"}
	for i := range routers {
		names = append(names, fmt.Sprintf("r%d", i+1))
	}
	for i, n := range names {
		l.namespace(n)
		host := i + 1
		if n == "c" {
			host = 100
		}
		l.in("sw", fmt.Sprintf("ip link add p-%s type veth peer name eth0 netns %s", n, l.name(n)), "ip link set p-"+n+" master br0 up")
		l.in(n, "sysctl -qw net.ipv6.conf.eth0.accept_dad=0", "sysctl -qw net.ipv6.conf.eth0.accept_ra=0", "ip link set eth0 up",
			fmt.Sprintf("ip addr add 192.0.2.%d/24 dev eth0", host), fmt.Sprintf("ip addr add 2001:db8::%d/64 dev eth0 nodad", host))
		if n == "c" {
			l.in(n, "ip route add default via "+gateway4, "ip -6 route add default via "+gateway6)
			continue
		}
		l.in(n, "ip addr add "+service4+"/32 dev lo", "ip addr add "+service6+"/128 dev lo nodad")
	}
	return l
}

func (l *link) name(n string) string { return l.prefix + "-" + n }

func (l *link) namespace(n string) {
	l.t.Helper()
	l.run("ip", "netns", "add", l.name(n))
	l.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", l.name(n)).Run() })
	l.in(n, "ip link set lo up")
}

func (l *link) run(command ...string) string {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return string(out)
}

// in runs commands in a namespace.
func (l *link) in(n string, commands ...string) (out string) {
	l.t.Helper()
	for _, c := range commands {
		out += l.run(append([]string{"ip", "netns", "exec", l.name(n)}, strings.Fields(c)...)...)
	}
	return out
}

// cut takes the cable of a router out of the switch, which both ends see as a lost carrier; plug puts it back.
func (l *link) cut(n string)  { l.in("sw", "ip link set p-"+n+" down") }
func (l *link) plug(n string) { l.in("sw", "ip link set p-"+n+" up") }

// mute drops what a router sends, so that others believe it dead while it hears them.
func (l *link) mute(n string) { l.muter(n)() }

// muter gives a mute that takes no time.
func (l *link) muter(n string) func() {
	l.t.Helper()
	table := &nftables.Table{Family: nftables.TableFamilyNetdev, Name: "mute"}
	first := nftables.ChainPriorityFilter
	chain := &nftables.Chain{Table: table, Name: n, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookIngress, Priority: first, Device: "p-" + n}
	var conn *nftables.Conn
	l.inside("sw", func() (err error) {
		if conn, err = nftables.New(nftables.AsLasting()); err != nil {
			return err
		}
		conn.AddTable(table)
		conn.AddChain(chain)
		return conn.Flush()
	})
	l.t.Cleanup(func() { _ = conn.CloseLasting() })
	return func() {
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}})
		if err := conn.Flush(); err != nil {
			l.t.Errorf("mute %s: %v", n, err)
		}
	}
}

func (l *link) unmute() { l.in("sw", "nft delete table netdev mute") }

// port is where the switch has learned an address to be.
func (l *link) port(mac string) string {
	for _, line := range strings.Split(l.in("sw", "bridge fdb show br br0"), "\n") {
		if f := strings.Fields(line); len(f) > 2 && f[0] == mac {
			return strings.TrimPrefix(f[2], "p-")
		}
	}
	return ""
}

// wait waits for a level, with a bound.
func wait(t testing.TB, bound time.Duration, what string, level func() bool) {
	t.Helper()
	end := time.Now().Add(bound)
	for !level() {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", bound, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// driver is a router process of ours in a namespace.
type driver struct {
	l    *link
	n    string
	cmd  *exec.Cmd
	in   *json.Encoder
	out  *json.Decoder
	dead bool
}

func (l *link) driver(n string, environment ...string) *driver {
	l.t.Helper()
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	d := &driver{l: l, n: n, cmd: exec.Command("nsenter", append([]string{"--net=/run/netns/" + l.name(n)}, append(slices.Clone(l.launch), self)...)...)}
	state := filepath.Join(l.state, n)
	if err := os.MkdirAll(state, 0o700); err != nil {
		l.t.Fatal(err)
	}
	d.cmd.Env = append(append(os.Environ(), "VRRPT_DRIVER=1", "VRRPT_STATE="+state), environment...)
	d.cmd.Stderr = os.Stderr
	stdin, err1 := d.cmd.StdinPipe()
	stdout, err2 := d.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, d.cmd.Start()); err != nil {
		l.t.Fatal(err)
	}
	d.in, d.out = json.NewEncoder(stdin), json.NewDecoder(bufio.NewReader(stdout))
	l.t.Cleanup(d.kill)
	return d
}

// kill is kill -9.
func (d *driver) kill() {
	if !d.dead {
		d.dead = true
		_ = d.cmd.Process.Kill()
		_ = d.cmd.Wait()
	}
}

func (d *driver) order(o order) answer {
	d.l.t.Helper()
	var a answer
	if err := errors.Join(d.in.Encode(o), d.out.Decode(&a)); err != nil {
		d.l.t.Fatalf("driver in %s: %v", d.n, err)
	}
	return a
}

func (d *driver) set(gateways ...Gateway) {
	d.l.t.Helper()
	if gateways == nil {
		gateways = []Gateway{}
	}
	if a := d.order(order{Set: &gateways}); a.Message != "" {
		d.l.t.Fatalf("set in %s: %s", d.n, a.Message)
	}
}

// router is the state in one family.
func (d *driver) router(f Family) RouterState {
	d.l.t.Helper()
	for _, r := range d.order(order{}).State.Routers {
		if r.Family == f {
			return r
		}
	}
	return RouterState{}
}

func (d *driver) waitFor(f Family, state State) RouterState {
	d.l.t.Helper()
	var r RouterState
	end := time.Now().Add(15 * time.Second)
	for r = d.router(f); r.State != state || state == Active && !r.Accepting; r = d.router(f) {
		if time.Now().After(end) {
			d.l.t.Fatalf("%s in %s is not %s: %+v", f, d.n, state, r)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return r
}

// both waits for both families.
func (d *driver) both(state State) {
	d.l.t.Helper()
	d.waitFor(IPv4, state)
	d.waitFor(IPv6, state)
}

// clean expects that everything that was heard was taken.
func (d *driver) clean() {
	d.l.t.Helper()
	for _, f := range []Family{IPv4, IPv6} {
		if s := d.router(f); len(s.Discarded) > 0 || s.Differs || s.Error != "" {
			d.l.t.Errorf("%s: discarded %v, addresses differ: %t, error %q", f, s.Discarded, s.Differs, s.Error)
		}
	}
}

// oneAnswer expects one router to have the gateway's address and virtual MAC. keepalived answers ARP from its IPv6 interface as well.
func (l *link) oneAnswer(n string) {
	l.t.Helper()
	if got := fmt.Sprint(l.arp(gateway4)); strings.Count(got, vmac4) != 1 || l.port(vmac4) != n {
		l.t.Errorf("ARP is answered by %s, virtual MAC at %s", got, l.port(vmac4))
	}
}

func testGateway(priority uint8, interval time.Duration) Gateway {
	return Gateway{Name: "gw", Interface: "eth0", VRID: 51, Priority: priority, Interval: interval, Accept: true,
		Addresses: []netip.Prefix{netip.MustParsePrefix(gateway4 + "/24"), netip.MustParsePrefix(gateway6 + "/64")}}
}

// keepalived is one in a namespace, for both families.
type keepalived struct {
	l   *link
	n   string
	cmd *exec.Cmd
}

func (l *link) keepalived(n string, priority int, interval time.Duration, extra string) *keepalived {
	l.t.Helper()
	return l.keepalivedWith(n, priority, interval, extra, extra)
}

// keepalivedWith has more lines of configuration for each family.
func (l *link) keepalivedWith(n string, priority int, interval time.Duration, four, six string) *keepalived {
	l.t.Helper()
	binary, err := exec.LookPath("keepalived")
	if err != nil {
		l.t.Skip("keepalived is not installed")
	}
	dir := l.t.TempDir()
	instance := func(name, addresses, mac, extra string) string {
		return fmt.Sprintf(`vrrp_instance %s {
  state BACKUP
  interface eth0
  virtual_router_id 51
  priority %d
  advert_int %g
  use_vmac vk%s
  %s
  virtual_ipaddress { %s }
}
`, name, priority, interval.Seconds(), mac, extra, addresses)
	}
	config := "global_defs {\n  vrrp_version 3\n  router_id " + n + "\n}\n" +
		instance("four", "\n"+gateway4+"/24\n", "4", four) + instance("six", "\n"+VirtualLinkLocal(51).String()+"/64\n"+gateway6+"/64\n", "6", six)
	file := filepath.Join(dir, "keepalived.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		l.t.Fatal(err)
	}
	k := &keepalived{l: l, n: n, cmd: exec.Command("nsenter", "--net=/run/netns/"+l.name(n), binary, "-n", "-P", "-l", "-D", "-f", file,
		"-p", filepath.Join(dir, "pid"), "-r", filepath.Join(dir, "vrrp.pid"))}
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getenv("VRRPT_LOG") != "" {
		k.cmd.Stdout, k.cmd.Stderr = os.Stderr, os.Stderr
	}
	if err := k.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(k.kill)
	return k
}

func (k *keepalived) kill() {
	if k.cmd.ProcessState == nil {
		_ = syscall.Kill(-k.cmd.Process.Pid, syscall.SIGKILL)
		_ = k.cmd.Wait()
	}
}

// stop is a graceful stop: priority 0.
func (k *keepalived) stop() {
	k.l.t.Helper()
	_ = k.cmd.Process.Signal(syscall.SIGTERM)
	_ = k.cmd.Wait()
}

// active tells whether keepalived has the addresses.
func (k *keepalived) active() bool {
	return strings.Contains(k.l.in(k.n, "ip -4 addr show"), gateway4+"/") && strings.Contains(k.l.in(k.n, "ip -6 addr show"), gateway6+"/")
}

func (k *keepalived) waitActive(want bool) {
	k.l.t.Helper()
	wait(k.l.t, 15*time.Second, fmt.Sprintf("keepalived in %s active: %t", k.n, want), func() bool { return k.active() == want })
}

// inside runs f in a namespace: what it opens stays there.
func (l *link) inside(n string, f func() error) {
	l.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		fd, err := unix.Open("/run/netns/"+l.name(n), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		l.t.Fatal(err)
	}
}

// try tells whether a command in a namespace succeeds.
func (l *link) try(n, command string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", l.name(n)}, strings.Fields(command)...)...).Run() == nil
}

// start has a process run in a namespace until the test ends.
func (l *link) start(n string, command ...string) *os.Process {
	l.t.Helper()
	cmd := exec.Command("nsenter", append([]string{"--net=/run/netns/" + l.name(n)}, command...)...)
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process
}
