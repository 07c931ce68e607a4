package bfd

import (
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

const frrConfig = `
bfd
 profile fast
  detect-multiplier 3
  transmit-interval 200
  receive-interval 250
 peer 192.0.2.1 interface bfdB
  profile fast
 peer fe80::1 interface bfdB local-address fe80::2
  profile fast
 peer 2001:db8::1 multihop local-address 2001:db8::2
  profile fast
`

var frrPeers = []Peer{
	{Key: Key{Address: netip.MustParseAddr("192.0.2.2"), Interface: "bfdA"}},
	{Key: Key{Address: netip.MustParseAddr("fe80::2%bfdA")}},
	{Key: Key{Address: netip.MustParseAddr("2001:db8::2"), Local: netip.MustParseAddr("2001:db8::1"), Multihop: true}, MinTTL: 254},
}

// frr is zebra and bfdd.
type frr struct {
	dir         string
	zebra, bfdd *daemon
}

func startFRR(t testing.TB, ns string) *frr {
	t.Helper()
	account, err := user.Lookup("frr")
	if err != nil {
		t.Fatal("FRR is not installed: run make deps")
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		t.Fatal(err)
	}
	// t.TempDir is not accessible to the user that the daemons change to.
	dir, err := os.MkdirTemp("", "bfdt-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "bfdd.conf"), []byte(frrConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, -1); err != nil {
		t.Fatal(err)
	}
	start := func(name string, more ...string) *daemon {
		pid := filepath.Join(dir, name+".pid")
		args := append([]string{"-A", "127.0.0.1", "-z", filepath.Join(dir, "zserv"), "--vty_socket", dir, "-i", pid, "--log", "stdout"}, more...)
		d := startDaemon(t, ns, "/usr/lib/frr/"+name, args...)
		await(t, name+" answers", func() bool { _, err := os.Stat(filepath.Join(dir, name+".vty")); return err == nil })
		return d
	}
	f := &frr{dir: dir}
	f.zebra = start("zebra")
	f.bfdd = start("bfdd", "--bfdctl", filepath.Join(dir, "bfdd.sock"), "-f", filepath.Join(dir, "bfdd.conf"))
	return f
}

func (f *frr) do(t testing.TB, commands ...string) string {
	t.Helper()
	args := []string{"--vty_socket", f.dir, "-d", "bfdd"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return run(t, "vtysh", args...)
}

func TestFRR(t *testing.T) {
	p := newPair(t)
	f := startFRR(t, p.b)
	m := startIn(t, p.a)
	peers := slices.Clone(frrPeers)
	for i := range peers {
		peers[i].Config = steady
	}
	if err := m.Set(peers); err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		awaitState(t, m, p.Key, Up)
		await(t, "timers are negotiated with "+p.Key.String(), func() bool {
			s := stateOf(t, m, p.Key).Status
			return s.TransmitInterval == 250*time.Millisecond && s.DetectionTime == 600*time.Millisecond && !s.PollSequence
		})
	}

	// The operator of FRR takes a session down: no failure. (BIRD 2.0.12 just stops sending when its protocol is disabled.)
	disabled := peers[0].Key
	events := watch(t, m, disabled)
	f.do(t, "configure terminal", "bfd", "peer 192.0.2.1 interface bfdB", "shutdown")
	if e := awaitEvent(t, events, Down); e.Failure() || e.RemoteState != AdminDown {
		t.Errorf("event %+v", e)
	}
	if s := stateOf(t, m, disabled); s.Flaps != 0 || s.Message != "the neighbour is administratively down" {
		t.Errorf("%d flaps, %q", s.Flaps, s.Message)
	}
	f.do(t, "configure terminal", "bfd", "peer 192.0.2.1 interface bfdB", "no shutdown")
	awaitState(t, m, disabled, Up)

	// FRR is killed: a failure.
	for _, p := range peers {
		await(t, "timers are negotiated again", func() bool { return stateOf(t, m, p.Key).Status.DetectionTime == 600*time.Millisecond })
	}
	multihop := peers[2].Key
	events = watch(t, m, multihop)
	began := time.Now()
	f.bfdd.kill()
	e := awaitEvent(t, events, Down)
	t.Logf("%s: %s after %s", multihop, e.Diag, e.At.Sub(began))
	if !e.Failure() {
		t.Errorf("event %+v", e)
	}
}
