package bgptest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// FRR is a router: zebra and bgpd of FRR on a host.
type FRR struct {
	t    testing.TB
	Node *Node
	dir  string
	bgpd *exec.Cmd
}

// StartFRR makes a host a router with the given configuration of bgpd. It serves when the function returns.
func StartFRR(t testing.TB, n *Node, config string) *FRR {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "fbr-frr-") // the daemons run as user frr and must be able to reach it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f := &FRR{t: t, Node: n, dir: dir}
	owner, err := user.Lookup("frr")
	if err != nil {
		t.Fatalf("FRR is not installed: %v", err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	f.write("zebra.conf", "hostname zebra\n")
	f.write("bgpd.conf", config)
	f.daemon("zebra", "--v6-rr-semantics") // otherwise it changes an IPv6 route by deleting it first
	Eventually(t, 10*time.Second, func() string {
		if _, err := os.Stat(filepath.Join(dir, "zserv")); err != nil {
			return err.Error()
		}
		return ""
	})
	f.Start()
	return f
}

func (f *FRR) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f *FRR) daemon(name string, more ...string) *exec.Cmd {
	f.t.Helper()
	return f.Node.Start(append([]string{"/usr/lib/frr/" + name, "--vty_socket", f.dir, "-i", filepath.Join(f.dir, name+".pid"),
		"-f", filepath.Join(f.dir, name+".conf"), "-z", filepath.Join(f.dir, "zserv"), "-P", "0", "--log", "stdout"}, more...)...)
}

// Start starts bgpd, at first or after Kill, and returns when it can be asked.
func (f *FRR) Start() {
	f.t.Helper()
	f.bgpd = f.daemon("bgpd")
	Eventually(f.t, 10*time.Second, func() string {
		if _, err := f.try("show bgp summary json"); err != nil {
			return err.Error()
		}
		return ""
	})
}

// StartBFD starts bfdd. Kill it by what is returned.
func (f *FRR) StartBFD() *exec.Cmd {
	f.t.Helper()
	f.write("bfdd.conf", "hostname bfdd\n")
	c := f.daemon("bfdd", "--bfdctl", filepath.Join(f.dir, "bfdd.sock"))
	Eventually(f.t, 10*time.Second, func() string {
		if out, err := f.ask("bfdd", "show bfd peers counters json"); err != nil {
			return out + err.Error()
		}
		return ""
	})
	return c
}

// BFD gives bfdd commands and returns what it says.
func (f *FRR) BFD(commands ...string) string {
	f.t.Helper()
	out, err := f.ask("bfdd", commands...)
	if err != nil {
		f.t.Fatalf("vtysh -d bfdd %q: %v\n%s", commands, err, out)
	}
	return out
}

// Zebra gives zebra commands.
func (f *FRR) Zebra(commands ...string) {
	f.t.Helper()
	if out, err := f.ask("zebra", commands...); err != nil {
		f.t.Fatalf("vtysh -d zebra %q: %v\n%s", commands, err, out)
	}
}

// Restart ends bgpd and starts it with another configuration.
func (f *FRR) Restart(config string) {
	f.t.Helper()
	f.Kill()
	f.write("bgpd.conf", config)
	f.Start()
}

// Kill kills bgpd: its TCP connections end without a BGP message.
func (f *FRR) Kill() {
	f.bgpd.Process.Kill()
	f.bgpd.Wait()
}

func (f *FRR) try(commands ...string) (string, error) { return f.ask("bgpd", commands...) }

func (f *FRR) ask(daemon string, commands ...string) (string, error) {
	args := []string{"--vty_socket", f.dir, "-d", daemon}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	out, err := exec.Command("vtysh", args...).CombinedOutput()
	if err == nil && strings.Contains(string(out), "% Unknown command") {
		err = fmt.Errorf("vtysh: %s", out)
	}
	return string(out), err
}

// Vtysh gives bgpd commands and returns what it says.
func (f *FRR) Vtysh(commands ...string) string {
	f.t.Helper()
	out, err := f.try(commands...)
	if err != nil {
		f.t.Fatalf("vtysh %q: %v\n%s", commands, err, out)
	}
	return out
}

// Neighbor is what bgpd says of a session.
type Neighbor struct {
	State       string `json:"bgpState"`
	Established int    `json:"connectionsEstablished"`
	Dropped     int    `json:"connectionsDropped"`
	Notified    string `json:"lastNotificationReason"`
	Restart     struct {
		Timers struct {
			Received int `json:"receivedRestartTimer"`
		} `json:"timers"`
	} `json:"gracefulRestartInfo"`
}

// Neighbor finds the session with an address; it is the zero value where there is none.
func (f *FRR) Neighbor(address string) Neighbor {
	f.t.Helper()
	all := map[string]json.RawMessage{}
	var n Neighbor
	if out := f.Vtysh("show bgp neighbors " + address + " json"); json.Unmarshal([]byte(out), &all) == nil {
		_ = json.Unmarshal(all[address], &n) // what is not there is told by the zero value
	}
	return n
}

// Path is a path of a prefix in bgpd's table.
type Path struct {
	Stale     bool `json:"stale"`
	MED       int  `json:"metric"`
	LocalPref int  `json:"locPrf"`
	Community struct {
		String string `json:"string"`
	} `json:"community"`
	LargeCommunity struct {
		String string `json:"string"`
	} `json:"largeCommunity"`
	ASPath struct {
		String string `json:"string"`
	} `json:"aspath"`
}

// Paths are the paths that bgpd has for a prefix.
func (f *FRR) Paths(prefix string) []Path {
	f.t.Helper()
	var table struct {
		Paths []Path `json:"paths"`
	}
	family := "ipv4"
	if strings.Contains(prefix, ":") {
		family = "ipv6"
	}
	out := f.Vtysh("show bgp " + family + " unicast " + prefix + " json")
	if err := json.Unmarshal([]byte(out), &table); err != nil {
		return nil
	}
	return table.Paths
}
