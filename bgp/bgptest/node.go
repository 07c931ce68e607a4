// Package bgptest gives tests hosts of their own, as network namespaces, and real FRR routers in them.
package bgptest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// inside marks a test binary that has a network namespace of its own.
const inside = "BGPTEST_INSIDE"

// Main runs the tests of a package in a network namespace of their own: TestMain calls it. Code under test that works on the namespace of its
// process can then do nothing to the host. What is in after is run at the end.
func Main(m *testing.M, after ...func()) {
	if os.Getenv(inside) == "" {
		args := append([]string{"unshare", "--net", "--", os.Args[0]}, os.Args[1:]...)
		path, err := exec.LookPath(args[0])
		if err == nil {
			err = syscall.Exec(path, args, append(os.Environ(), inside+"=1"))
		}
		fmt.Fprintln(os.Stderr, "bgptest: tests need root and network namespaces:", err)
		os.Exit(1)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "bgptest: %v: %s\n", err, out)
		os.Exit(1)
	}
	code := m.Run()
	for _, f := range after {
		f()
	}
	os.Exit(code)
}

// Node is a host: a network namespace.
type Node struct {
	t    testing.TB
	Name string // of the namespace in ip-netns(8); empty is the one of the test itself
}

// serial makes the names of namespaces unique within the process.
var serial atomic.Uint32

// NewNode makes a host that is gone when the test is over.
func NewNode(t testing.TB, name string) *Node {
	t.Helper()
	n := &Node{t, fmt.Sprintf("fbr%d-%d-%s", os.Getpid(), serial.Add(1), name)}
	n.host("ip", "netns", "add", n.Name)
	t.Cleanup(func() { exec.Command("ip", "netns", "del", n.Name).Run() })
	n.IP("link set lo up")
	for _, knob := range []string{"net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv6.conf.default.accept_dad=0", "net.ipv4.conf.all.rp_filter=0"} {
		n.Run("sysctl", "-qw", knob)
	}
	return n
}

// Self is the namespace that Main gave the test.
func Self(t testing.TB) *Node { return &Node{t: t} }

// Link connects two hosts: interface ia on n with interface ib on peer, both up, without addresses.
func (n *Node) Link(ia string, peer *Node, ib string) {
	n.t.Helper()
	args := []string{"ip", "link", "add", ia}
	if n.Name != "" {
		args = append(args, "netns", n.Name)
	}
	args = append(args, "type", "veth", "peer", "name", ib)
	if peer.Name != "" {
		args = append(args, "netns", peer.Name)
	}
	n.host(args...)
	n.IP("link set dev %s up", ia)
	// A namespace that is deleted goes some time later, and its links with it: names are free again only then.
	remove := n.prefixed([]string{"ip", "link", "del", ia})
	n.t.Cleanup(func() { exec.Command(remove[0], remove[1:]...).Run() })
	peer.IP("link set dev %s up", ib)
}

// IP runs ip(8) with the words of a line.
func (n *Node) IP(format string, args ...any) string {
	n.t.Helper()
	return n.Run(append([]string{"ip"}, strings.Fields(fmt.Sprintf(format, args...))...)...)
}

// Address gives an interface addresses.
func (n *Node) Address(dev string, addresses ...string) {
	n.t.Helper()
	for _, a := range addresses {
		if strings.Contains(a, ":") {
			n.IP("address add %s dev %s nodad", a, dev)
		} else {
			n.IP("address add %s dev %s", a, dev)
		}
	}
}

// Run runs a command on the host and returns what it wrote; the test fails when the command does.
func (n *Node) Run(args ...string) string {
	n.t.Helper()
	return n.host(n.prefixed(args)...)
}

func (n *Node) prefixed(args []string) []string {
	if n.Name == "" {
		return args
	}
	return append([]string{"nsenter", "--net=/run/netns/" + n.Name, "--"}, args...)
}

func (n *Node) host(args ...string) string {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		n.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Start runs a command on the host in the background until it is killed or the test is over. Its output goes to a file, shown when the test fails.
func (n *Node) Start(args ...string) *exec.Cmd {
	n.t.Helper()
	log, err := os.CreateTemp(n.t.TempDir(), filepath.Base(args[0])+"-*.log")
	if err != nil {
		n.t.Fatal(err)
	}
	args = n.prefixed(args)
	c := exec.Command(args[0], args[1:]...)
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
		if n.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			n.t.Logf("%s on %s:\n%s", strings.Join(args, " "), n.Name, text)
		}
		log.Close()
	})
	return c
}

// Eventually waits until check is satisfied and has nothing to complain of; the test fails with its last complaint after the bound.
func Eventually(t testing.TB, bound time.Duration, check func() (complaint string)) {
	t.Helper()
	complaint := ""
	for end := time.Now().Add(bound); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if complaint = check(); complaint == "" {
			return
		}
	}
	t.Fatalf("not within %s: %s", bound, complaint)
}

// Gateways are the next hops of the host's kernel routes to a prefix, sorted; ok is false where there is no route.
func (n *Node) Gateways(prefix string) (gateways []string, ok bool) {
	n.t.Helper()
	family := "-4"
	if strings.Contains(prefix, ":") {
		family = "-6"
	}
	var routes []struct {
		Gateway  string `json:"gateway"`
		NextHops []struct {
			Gateway string `json:"gateway"`
		} `json:"nexthops"`
	}
	if err := json.Unmarshal([]byte(n.Run("ip", "-j", family, "route", "show", strings.TrimSuffix(strings.TrimSuffix(prefix, "/32"), "/128"))), &routes); err != nil {
		n.t.Fatal(err)
	}
	for _, r := range routes {
		ok = true
		if r.Gateway != "" {
			gateways = append(gateways, r.Gateway)
		}
		for _, h := range r.NextHops {
			gateways = append(gateways, h.Gateway)
		}
	}
	slices.Sort(gateways)
	return gateways, ok
}
