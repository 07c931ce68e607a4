package compute

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"netfabric/fabric"
)

func TestDecide(t *testing.T) {
	created := time.Unix(1000, 0)
	// base is an instance that runs as it should.
	base := func() situation {
		return situation{
			name: "c", member: "m1", bootID: "boot", facts: true, pool: true, known: true, autostart: true,
			instance:  &fabric.Instance{Header: fabric.Header{Name: "c", Created: created}, Member: "m1", Power: fabric.PowerRunning, Boots: 3},
			record:    &record{Created: created, Ready: true},
			container: Container{State: ContainerRunning, Boots: 3, BootID: "boot"},
		}
	}
	down := fabric.Errorf(fabric.CodeUnavailable, "network-down", "down")
	for _, c := range []struct {
		name   string
		edit   func(*situation)
		want   step
		reason string
	}{
		{"as it should be", func(*situation) {}, stepNone, ""},
		{"restart", func(s *situation) { s.instance.Boots = 4 }, stepStop, ""},
		{"restart, second half", func(s *situation) { s.instance.Boots, s.container.State = 4, ContainerStopped }, stepStart, ""},
		{"newer than wanted", func(s *situation) { s.instance.Boots = 2 }, stepNone, ""},
		{"to be stopped", func(s *situation) { s.instance.Power = fabric.PowerStopped }, stepStop, ""},
		{"is stopped", func(s *situation) { s.instance.Power, s.container.State = fabric.PowerStopped, ContainerStopped }, stepNone, ""},
		{"died", func(s *situation) { s.container.State = ContainerStopped }, stepStart, ""},
		{"reboots itself", func(s *situation) { s.container.State = ContainerStarting }, stepNone, ""},
		{"reboots itself, to be stopped", func(s *situation) {
			s.container.State, s.instance.Power = ContainerStarting, fabric.PowerStopped
		}, stepStop, ""},
		{"member was down", func(s *situation) { s.container.State, s.container.BootID = ContainerStopped, "earlier" }, stepStart, ""},
		{"member was down, no autostart", func(s *situation) {
			s.container.State, s.container.BootID, s.autostart = ContainerStopped, "earlier", false
		}, stepNone, ""},
		{"member was down, no autostart, but asked since", func(s *situation) {
			s.container.State, s.container.BootID, s.autostart, s.instance.Boots = ContainerStopped, "earlier", false, 4
		}, stepStart, ""},
		{"new, no autostart", func(s *situation) { s.known, s.container, s.autostart = false, Container{}, false }, stepStart, ""},
		{"new", func(s *situation) { s.known, s.container, s.record = false, Container{}, nil }, stepCreate, ""},
		{"new and stopped", func(s *situation) {
			s.known, s.container, s.record, s.instance.Power = false, Container{}, nil, fabric.PowerStopped
		}, stepCreate, ""},
		{"half made", func(s *situation) { s.known, s.container, s.record.Ready = false, Container{}, false }, stepCreate, ""},
		{"new without a pool", func(s *situation) { s.known, s.container, s.record, s.pool = false, Container{}, nil, false }, stepNone, "no-pool"},
		{"new, facts unknown", func(s *situation) {
			s.known, s.container, s.record, s.pool, s.facts = false, Container{}, nil, false, false
		}, stepNone, ""},
		{"start without its network", func(s *situation) { s.container.State, s.networkErr = ContainerStopped, down }, stepNone, "network-down"},
		{"runs on without its network", func(s *situation) { s.networkErr = down }, stepNone, ""},
		{"may use less", func(s *situation) { s.resources.Memory = 1 << 20 }, stepLimit, ""},
		{"gone", func(s *situation) { s.instance, s.container.State = nil, ContainerStopped }, stepRemove, ""},
		{"gone with its member, runs", func(s *situation) { s.instance, s.outsider = nil, true }, stepStop, ""},
		{"gone with its member", func(s *situation) { s.instance, s.outsider, s.container.State = nil, true, ContainerStopped }, stepNone, ""},
		{"deleting, runs", func(s *situation) { s.instance.Deleting = true }, stepStop, ""},
		{"deleting, stopped", func(s *situation) { s.instance.Deleting, s.container.State = true, ContainerStopped }, stepRemove, ""},
		{"deleting, only the runtime knows it", func(s *situation) {
			s.instance.Deleting, s.container.State, s.record = true, ContainerStopped, nil
		}, stepRemove, ""},
		{"deleted", func(s *situation) {
			s.instance.Deleting, s.known, s.container, s.record = true, false, Container{}, nil
		}, stepNone, ""},
		{"not desired, runs", func(s *situation) { s.instance = nil }, stepStop, ""},
		{"not desired, stopped", func(s *situation) { s.instance, s.container.State = nil, ContainerStopped }, stepRemove, ""},
		{"an earlier one of its name", func(s *situation) { s.instance.Created = created.Add(1) }, stepStop, ""},
		{"lives elsewhere now", func(s *situation) { s.instance.Member = "m2" }, stepStop, ""},
		{"lives elsewhere, stopped here", func(s *situation) { s.instance.Member, s.container.State = "m2", ContainerStopped }, stepNone, ""},
	} {
		s := base()
		c.edit(&s)
		got, blocked := decide(s)
		reason := ""
		if blocked != nil {
			reason = blocked.Reason
		}
		if got != c.want || reason != c.reason {
			t.Errorf("%s: %q, %v; want %q, %q", c.name, got, blocked, c.want, c.reason)
		}
	}
}

func TestBackoff(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 1000: time.Minute} {
		if got := backoff(failures); got != want {
			t.Errorf("after %d failures: %s, want %s", failures, got, want)
		}
	}
}

func TestReadIDMap(t *testing.T) {
	for _, c := range []struct {
		name, uids, gids string
		want             IDMap
		reason           string
	}{
		{"nothing", "", "", IDMap{1000000, 1000000, 1000000000}, ""},
		{"others only", "lxd:5:70000\n", "lxd:5:70000\n", IDMap{1000000, 1000000, 1000000000}, ""},
		{"root's", "daemon:9:9\nroot:200000:65536\n", "root:300000:70000\n", IDMap{200000, 300000, 65536}, ""},
		{"the largest", "root:100000:1000\nroot:200000:65536\n", "0:300000:65536\n", IDMap{200000, 300000, 65536}, ""},
		{"nonsense is passed over", "root:x:1\nroot:1\nroot:4294967295:65536\nroot:0:65536\n", "\n", IDMap{1000000, 1000000, 1000000000}, ""},
		{"too few", "root:100000:1000\n", "root:100000:65536\n", IDMap{}, "too-few-ids"},
	} {
		dir := t.TempDir()
		uids, gids := filepath.Join(dir, "subuid"), filepath.Join(dir, "subgid")
		for file, content := range map[string]string{uids: c.uids, gids: c.gids} {
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := ReadIDMap(uids, gids)
		if got != c.want || fabric.ReasonOf(err) != c.reason {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	if got, err := ReadIDMap("/nonexistent/a", "/nonexistent/b"); err != nil || got.UID != 1000000 {
		t.Errorf("without the files: %+v, %v", got, err)
	}
}
