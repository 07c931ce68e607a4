package api

import (
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

func TestInstanceLife(t *testing.T) {
	m := bootstrapped(t, "n1", "n2").members["n1"]
	c := m.unix
	op, err := c.CreateInstance(t.Context(), newInstancePost("c1", false))
	wait(t, op, err)
	i, etag, err := c.GetInstance(t.Context(), "c1")
	must(t, err)
	if i.Status != "Stopped" || i.Location != "n1" || !reflect.DeepEqual(i.Profiles, []string{"default"}) || i.Architecture != "x86_64" ||
		i.Config["image.os"] != "busybox" || i.Config["volatile.base_image"] != strings.Repeat("ab", 32) || i.Config["volatile.eth0.hwaddr"] == "" ||
		i.ExpandedDevices["root"]["pool"] != "local" || len(i.Devices) != 0 {
		t.Fatalf("got %+v", i)
	}
	start := func(action string, force bool) error {
		op, err := c.UpdateInstanceState(t.Context(), "c1", incusapi.InstanceStatePut{Action: action, Timeout: -1, Force: force})
		if err == nil {
			wait(t, op, err)
		}
		return err
	}
	must(t, start("start", false))
	refused(t, start("start", false), fabric.CodeConflict, "already-running")
	state, err := c.GetInstanceState(t.Context(), "c1")
	must(t, err)
	if state.Status != "Running" || state.Pid != 4242 || state.Network["eth0"].Addresses[0] != (incusapi.InstanceStateNetworkAddress{Family: "inet", Address: "10.1.0.2", Netmask: "24", Scope: "global"}) {
		t.Fatalf("got %+v", state)
	}
	must(t, start("restart", false))
	stored, _ := m.store.Snapshot().Instance("c1")
	if stored.Boots != 2 {
		t.Fatalf("boots %d", stored.Boots)
	}

	w := i.Writable()
	w.Config["user.a"] = "b"
	_, err = c.UpdateInstance(t.Context(), "c1", w, etag)
	refused(t, err, fabric.CodeStale, "stale")
	i, etag, err = c.GetInstance(t.Context(), "c1")
	must(t, err)
	w = i.Writable()
	w.Config["user.a"] = "b"
	op, err = c.UpdateInstance(t.Context(), "c1", w, etag)
	wait(t, op, err)
	_, err = c.PatchInstance(t.Context(), "c1", map[string]any{"config": map[string]string{"user.c": "d"}}, "")
	must(t, err)
	i, _, err = c.GetInstance(t.Context(), "c1")
	must(t, err)
	if i.Config["user.a"] != "b" || i.Config["user.c"] != "d" || stored.NICs[0].MAC != i.Config["volatile.eth0.hwaddr"] {
		t.Fatalf("got %+v", i)
	}
	w = i.Writable()
	w.Config["volatile.eth0.hwaddr"] = "00:16:3e:00:00:01"
	_, err = c.UpdateInstance(t.Context(), "c1", w, "")
	refused(t, err, fabric.CodeInvalid, "read-only")

	_, err = c.DeleteInstance(t.Context(), "c1")
	refused(t, err, fabric.CodeConflict, "running")
	must(t, start("stop", true))
	refused(t, start("stop", false), fabric.CodeConflict, "already-stopped")
	refused(t, start("restart", false), fabric.CodeConflict, "not-running")
	op, err = c.DeleteInstance(t.Context(), "c1")
	wait(t, op, err)
	if _, there := m.store.Snapshot().Instance("c1"); there {
		t.Fatal("still there")
	}
}

func TestInstanceCreateRefusals(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	put(t, m.store, &fabric.Profile{Header: fabric.Header{Name: "bare"}, Config: fabric.Config{}, Devices: fabric.Devices{}})
	for name, c := range map[string]struct {
		change func(*InstancesPost)
		code   fabric.Code
		reason string
	}{
		"no root disk":       {func(p *InstancesPost) { p.Profiles = []string{"bare"} }, fabric.CodeInvalid, "no-root-disk"},
		"no profiles at all": {func(p *InstancesPost) { p.Profiles = []string{} }, fabric.CodeInvalid, "no-root-disk"},
		"unknown profile":    {func(p *InstancesPost) { p.Profiles = []string{"nope"} }, fabric.CodeInvalid, "missing-reference"},
		"same profile twice": {func(p *InstancesPost) { p.Profiles = []string{"default", "default"} }, fabric.CodeInvalid, "duplicate-profile"},
		"unknown alias":      {func(p *InstancesPost) { p.Source.Alias = "debian" }, fabric.CodeNotFound, "not-found"},
		"no image":           {func(p *InstancesPost) { p.Source.Alias = "" }, fabric.CodeInvalid, "no-image"},
		"remote image":       {func(p *InstancesPost) { p.Source.Server = "http://169.254.169.254/" }, fabric.CodeNotSupported, "remote-image"},
		"copy":               {func(p *InstancesPost) { p.Source.Type = "copy" }, fabric.CodeNotSupported, "source"},
		"virtual machine":    {func(p *InstancesPost) { p.Type = "virtual-machine" }, fabric.CodeNotSupported, "instance-type"},
		"bad name":           {func(p *InstancesPost) { p.Name = "%" }, fabric.CodeInvalid, "bad-name"},
		"wrong pool": {func(p *InstancesPost) {
			p.Devices = incusapi.DevicesMap{"root": {"type": "disk", "path": "/", "pool": "x"}}
		}, fabric.CodeInvalid, "missing-reference"},
		"address outside":     {func(p *InstancesPost) { p.Devices = nic("ipv4.address", "10.9.0.1") }, fabric.CodeInvalid, "bad-address"},
		"address of gateway":  {func(p *InstancesPost) { p.Devices = nic("ipv4.address", "10.1.0.1") }, fabric.CodeInvalid, "bad-address"},
		"unknown anycast":     {func(p *InstancesPost) { p.Config = incusapi.ConfigMap{"anycast": "dns"} }, fabric.CodeInvalid, "missing-reference"},
		"other architecture":  {func(p *InstancesPost) { p.Architecture = "riscv64" }, fabric.CodeInvalid, "read-only"},
		"unknown config key":  {func(p *InstancesPost) { p.Config = incusapi.ConfigMap{"limits.memry": "1GiB"} }, fabric.CodeInvalid, "unknown-key"},
		"system's config key": {func(p *InstancesPost) { p.Config = incusapi.ConfigMap{"volatile.uuid": "x"} }, fabric.CodeInvalid, "read-only"},
	} {
		post := newInstancePost("c1", false)
		c.change(&post)
		_, err := m.unix.CreateInstance(t.Context(), post)
		t.Run(name, func(t *testing.T) { refused(t, err, c.code, c.reason) })
	}
	if n := m.store.Snapshot().Len(fabric.KindInstance); n != 0 {
		t.Fatalf("%d instances were made", n)
	}
}

func nic(key, value string) incusapi.DevicesMap {
	return incusapi.DevicesMap{"eth0": {"type": "nic", "network": "fabbr0", key: value}}
}

func TestInstanceOfOfflineMember(t *testing.T) {
	f := bootstrapped(t, "n1", "n2")
	m := f.members["n1"]
	op, err := m.unix.Target("n2").CreateInstance(t.Context(), newInstancePost("c2", false))
	wait(t, op, err)
	f.members["n2"].hold(true, "")
	m.setOffline("n2", true)
	op, err = m.unix.UpdateInstanceState(t.Context(), "c2", incusapi.InstanceStatePut{Action: "start"})
	must(t, err)
	err = op.Wait(t.Context())
	refused(t, err, fabric.CodeUnavailable, "member-offline")
	if want := `member "n2" is offline: the instance will be started when it is back`; err.Error() != want {
		t.Fatalf("got %q, want %q", err, want)
	}
	_, err = m.unix.Target("n2").CreateInstance(t.Context(), newInstancePost("c3", false))
	refused(t, err, fabric.CodeUnavailable, "member-offline")
	i, _, err := m.unix.GetInstance(t.Context(), "c2")
	must(t, err)
	if i.Status != "Error" {
		t.Fatalf("status %s", i.Status)
	}
	// Back again, the promise is kept.
	m.setOffline("n2", false)
	f.members["n2"].hold(false, "")
	eventually(t, "c2 runs", func() bool {
		state, err := m.unix.GetInstanceState(t.Context(), "c2")
		return err == nil && state.Status == "Running"
	})
}

func TestInstanceFailure(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	m.hold(false, "the pool is full")
	op, err := m.unix.CreateInstance(t.Context(), newInstancePost("c1", true))
	must(t, err)
	err = op.Wait(t.Context())
	refused(t, err, fabric.CodeUnavailable, "fake-failure")
	if want := `instance "c1": the pool is full`; err.Error() != want {
		t.Fatalf("got %q, want %q", err, want)
	}
	if i, _, err := m.unix.GetInstanceFull(t.Context(), "c1"); err != nil || i.Reason != "fake-failure" || i.Message != "the pool is full" {
		t.Fatalf("got %+v, %v", i, err)
	}
	// What was reported before a change does not fail it.
	m.hold(true, "")
	op, err = m.unix.UpdateInstanceState(t.Context(), "c1", incusapi.InstanceStatePut{Action: "start"})
	must(t, err)
	must(t, op.Refresh(t.Context()))
	if op.StatusCode != incusapi.Running {
		t.Fatalf("status %s: %s", op.Status, op.Err)
	}
	m.hold(false, "")
	wait(t, op, nil)
	if i, _, err := m.unix.GetInstanceFull(t.Context(), "c1"); err != nil || i.Reason != "" || i.Message != "" {
		t.Fatalf("got %+v, %v", i, err)
	}
}

func TestEphemeral(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	post := newInstancePost("c1", true)
	post.Ephemeral = true
	op, err := m.unix.CreateInstance(t.Context(), post)
	wait(t, op, err)
	_, err = m.unix.UpdateInstanceState(t.Context(), "c1", incusapi.InstanceStatePut{Action: "stop"})
	must(t, err)
	eventually(t, "c1 is gone", func() bool { return m.store.Snapshot().Len(fabric.KindInstance) == 0 })
}

func TestInstanceLists(t *testing.T) {
	f := bootstrapped(t, "n1", "n2")
	m := f.members["n1"]
	for name, target := range map[string]string{"web1": "n1", "web2": "n2", "db1": "n2"} {
		m.launch(t, name, target)
	}
	names := func(filter string) []string {
		all, err := f.members["n2"].unix.GetInstances(t.Context(), filter)
		must(t, err)
		got := []string{}
		for _, i := range all {
			got = append(got, i.Name)
		}
		return got
	}
	for filter, want := range map[string][]string{
		"":                                      {"db1", "web1", "web2"},
		"name eq web.*":                         {"web1", "web2"},
		"name eq WEB.* and location eq n2":      {"web2"},
		"not location eq n2 or name eq db1":     {"db1", "web1"},
		"expanded_devices.eth0.network ne none": {"db1", "web1", "web2"},
		"config.image.os eq busybox":            {"db1", "web1", "web2"},
		"state.pid eq 4242":                     {"db1", "web1", "web2"},
		"status_code eq 102":                    {},
		"ephemeral eq false":                    {"db1", "web1", "web2"},
		"profiles eq default":                   {"db1", "web1", "web2"},
		"nonsense eq x":                         {},
		`name eq "^(web1|db1)$"`:                {"db1", "web1"},
	} {
		if got := names(filter); !slices.Equal(got, want) {
			t.Errorf("filter %q: %v, want %v", filter, got, want)
		}
	}
	var addresses []string
	_, err := m.unix.Get(t.Context(), "/1.0/containers?all-projects=true&project=default", &addresses)
	must(t, err)
	if !slices.Equal(addresses, []string{"/1.0/instances/db1", "/1.0/instances/web1", "/1.0/instances/web2"}) {
		t.Fatalf("got %v", addresses)
	}
	// The cache must not outlive what it was made of.
	p, etag, err := m.unix.GetProfile(t.Context(), "default")
	must(t, err)
	w := p.Writable()
	w.Config["limits.memory"] = "1GiB"
	must(t, m.unix.UpdateProfile(t.Context(), "default", w, etag))
	all, err := m.unix.GetInstances(t.Context(), "")
	must(t, err)
	for _, i := range all {
		if i.ExpandedConfig["limits.memory"] != "1GiB" {
			t.Fatalf("%s: %v", i.Name, i.ExpandedConfig)
		}
	}
}

func TestLogs(t *testing.T) {
	f := bootstrapped(t, "n1", "n2")
	f.members["n1"].launch(t, "c2", "n2")
	body, err := f.members["n1"].unix.GetInstanceLog(t.Context(), "c2")
	must(t, err)
	defer body.Close()
	text, err := io.ReadAll(body)
	must(t, err)
	if string(text) != "log of c2 on n2" {
		t.Fatalf("got %q", text)
	}
}

// TestETagRace has many writers that each add one to a number, with If-Match: none may be lost.
func TestETagRace(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	const writers, each = 4, 10
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for n := 0; n < each; {
				p, etag, err := m.unix.GetProfile(t.Context(), "default")
				if err != nil {
					t.Error(err)
					return
				}
				w := p.Writable()
				w.Config["user.count"] += "x"
				switch err := m.unix.UpdateProfile(t.Context(), "default", w, etag); {
				case err == nil:
					n++
				case fabric.CodeOf(err) != fabric.CodeStale:
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	p, _ := m.store.Snapshot().Profile("default")
	if got := len(p.Config["user.count"]); got != writers*each {
		t.Fatalf("%d of %d changes are there", got, writers*each)
	}
}

// TestOvertaken sees that nobody waits for what another request made impossible.
func TestOvertaken(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	m.launch(t, "c1", "")
	m.launch(t, "c2", "")
	m.hold(true, "")
	state := func(name, action string) *Operation {
		op, err := m.unix.UpdateInstanceState(t.Context(), name, incusapi.InstanceStatePut{Action: action})
		must(t, err)
		return op
	}
	restart, again := state("c1", "restart"), state("c2", "restart")
	stop := state("c1", "stop")
	refused(t, restart.Wait(t.Context()), fabric.CodeConflict, "overtaken")
	gone, err := m.unix.Send(t.Context(), "DELETE", "/1.0/instances/c2?force=1", nil, "")
	must(t, err)
	refused(t, again.Wait(t.Context()), fabric.CodeConflict, "overtaken")
	m.hold(false, "")
	wait(t, stop, nil)
	wait(t, gone, nil)
}
