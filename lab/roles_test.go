package lab

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func TestRolesAndKeysOfTheFile(t *testing.T) {
	t.Parallel()
	l := Run(t, "testdata/roles.clab.yml")
	if out := l.MustNode(t, "bird").MustExec(t, "birdc", "show", "status"); !strings.Contains(out, "Router ID is 192.0.2.1") {
		t.Errorf("birdc shows\n%s", out)
	}
	WaitFor(t, 20*time.Second, "exabgp's route", func() error {
		out, err := l.MustNode(t, "bird").Exec(bounded(t), "birdc", "show", "route", "all", "198.51.100.0/24")
		if err == nil && !strings.Contains(out, "BGP.community: (64512,1)") {
			err = errors.New(out)
		}
		return err
	})
	web := l.MustNode(t, "web")
	WaitFor(t, 10*time.Second, "keepalived's address", ping(web, "192.0.2.100"))
	if out := web.MustExec(t, "sh", "-c", "echo $GREETING"); out != "hello from web\n" {
		t.Errorf("the environment has %q", out)
	}
	if out := web.MustExec(t, "busybox", "wget", "-q", "-O", "-", "http://192.0.2.3/bird.conf"); !strings.Contains(out, "protocol device") {
		t.Errorf("cmd serves %q", out)
	}
	if _, err := web.Exec(bounded(t), "touch", "/etc/web/new"); err == nil {
		t.Error("a read-only bind can be written")
	}
	if out := web.MustExec(t, "ethtool", "-k", "eth1"); !strings.Contains(out, "tx-checksumming: off") {
		t.Errorf("a client offloads checksums:\n%s", out)
	}
	if _, err := web.Process("sleep"); err != nil {
		t.Errorf("what exec left in the background is gone: %v", err)
	}

	// The daemon that cmd names is stopped and started like any other.
	if err := web.StopDaemon(bounded(t), "busybox"); err != nil {
		t.Fatal(err)
	}
	if err := web.StartDaemon(bounded(t), "busybox"); err != nil {
		t.Fatal(err)
	}
	status, err := l.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range status {
		want := fmt.Sprintf("lab-%s-%s running", l.Name(), node.Name)
		if got := node.Netns + " " + node.State; got != want || node.PID == 0 {
			t.Errorf("inspect shows %q with pid %d, want %q", got, node.PID, want)
		}
	}
	path, err := web.Path("/etc/hostname")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "web\n" {
		t.Errorf("Path leads to %q (%v)", data, err)
	}
}
