package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"netfabric/fabric"
)

// Each wrong input gets one line on stderr, nothing on stdout and the status of its sort.
func TestWrongInput(t *testing.T) {
	f := newFake(t)
	image := strings.Repeat("ab", 32)
	f.on("GET /1.0/images/aliases/alpine", answer{metadata: map[string]string{"name": "alpine", "target": image}})
	f.on("GET /1.0/networks/lan0", answer{metadata: map[string]any{"name": "lan0", "config": map[string]string{"ipv4.nat": "true"}}, etag: "e1"})
	f.on("PUT /1.0/networks/lan0", answer{err: fabric.NetworkKeys.Check("network lan0", fabric.Config{"ipv4.nta": "x"}).(*fabric.Error)})
	f.on("GET /1.0", answer{err: fabric.Errorf(fabric.CodeUnavailable, "no-cluster", "this host is in no cluster").WithFix("form one with\n\"fabricctl cluster bootstrap\"")})
	f.on("GET /1.0/instances/web1", answer{metadata: map[string]any{"name": "web1", "devices": map[string]any{"eth0": map[string]string{"type": "nic"}},
		"expanded_devices": map[string]any{"eth0": map[string]string{"type": "nic"}, "eth1": map[string]string{"type": "nic"}}}})
	f.on("PUT /1.0/instances/web1/state", answer{err: fabric.Conflictf("running", "instance \"web1\" runs already")})
	f.on("PUT /1.0/instances/web2/state", answer{err: fabric.NotFoundf("instance \"web2\" does not exist")})
	f.on("GET /1.0/operations?recursion=1", answer{metadata: map[string]any{}})

	for _, c := range []struct {
		line   string
		status int
		want   string
	}{
		{"frobnicate", 2, `Error: fabricctl: unknown command "frobnicate"; see "fabricctl --help"`},
		{"lanuch alpine web1", 2, `Error: fabricctl: unknown command "lanuch"; did you mean "launch"?; see "fabricctl --help"`},
		{"network lst", 2, `Error: fabricctl network: unknown command "lst"; did you mean "list"?; see "fabricctl network --help"`},
		{"bgp peer", 2, `Error: fabricctl bgp peer: a command is missing: add, edit, list, remove, set, show; see "fabricctl bgp peer --help"`},
		{"help netwrok", 2, `Error: fabricctl: unknown command "netwrok"; did you mean "network"?; see "fabricctl --help"`},
		{"completion tcsh", 2, `Error: fabricctl completion: unknown command "tcsh"; see "fabricctl completion --help"`},
		{"launch alpine", 2, `Error: fabricctl launch: NAME is missing; see "fabricctl launch --help"`},
		{"launch alpine web1 web2", 2, `Error: fabricctl launch: unexpected argument "web2"; see "fabricctl launch --help"`},
		{"launch alpine web1 -c limits.memory", 2, `Error: fabricctl launch: "limits.memory" is not KEY=VALUE; see "fabricctl launch --help"`},
		{"launch alpine web1 -d eth0", 2, `Error: fabricctl launch: --device "eth0" is not DEVICE,KEY=VALUE; see "fabricctl launch --help"`},
		{"launch debian web1", 1, `Error: there is no image "debian"; see "fabricctl image list", or import it with "fabricctl image import"`},
		{"list -f xml", 2, `Error: fabricctl list: --format "xml": want one of table, json, yaml, csv, compact; see "fabricctl list --help"`},
		{"list -c nq", 2, `Error: fabricctl list: there is no column "q"; see "fabricctl list --help"`},
		{"list web[", 2, `Error: fabricctl list: filter "web[" is neither a name nor a regular expression; see "fabricctl list --help"`},
		{"list --colour", 2, `Error: fabricctl list: unknown flag: --colour; see "fabricctl list --help"`},
		{"start", 2, `Error: fabricctl start: give the NAME of one or more instances, or --all; see "fabricctl start --help"`},
		{"stop web1 --timeout soon", 2, `Error: fabricctl stop: --timeout "soon": want a whole number; see "fabricctl stop --help"`},
		{"start web1", 1, `Error: instance "web1" runs already`},
		{"start web1 web2", 1, `Error: 2 of 2 failed: instance "web1" runs already; instance "web2" does not exist`},
		{"exec web1", 2, `Error: fabricctl exec: COMMAND is missing; see "fabricctl exec --help"`},
		{"exec web1 ls -l", 2, `Error: fabricctl exec: unknown shorthand flag: 'l' in -l; put "--" before a command that has flags; see "fabricctl exec --help"`},
		{"exec --user root web1 -- ls", 2, `Error: fabricctl exec: --user "root": want a whole number; see "fabricctl exec --help"`},
		{"list --wait=maybe", 2, `Error: fabricctl list: --wait "maybe": want true or false; see "fabricctl list --help"`},
		{"exec -t -T web1 -- ls", 2, `Error: fabricctl exec: -t and -T exclude each other; see "fabricctl exec --help"`},
		{"config set web1", 2, `Error: fabricctl config set: KEY=VALUE is missing; see "fabricctl config set --help"`},
		{"config set core.bgp_asn=1", 1, `Error: this host is in no cluster; form one with; "fabricctl cluster bootstrap"`},
		{"config set web1 user.a=1 --target n1", 2, `Error: fabricctl config set: --target is for the server's own keys, not for an instance's; see "fabricctl config set --help"`},
		{"config unset web1 limits.memory", 1, `Error: key "limits.memory" is not set`},
		{"config get web1 limits.memroy", 1, `Error: instance web1 has no config key "limits.memroy"; did you mean "limits.memory"?`},
		{"config device remove web1 eth9", 1, `Error: instance "web1" has no device "eth9" of its own`},
		{"config device set web1 eth1 ipv4.address=10.1.0.9", 1, `Error: instance "web1" has no device "eth1" of its own; it is of a profile: change that, or have one in its place with fabricctl config device override web1 eth1 KEY=VALUE`},
		{"config device override web1 eth0", 1, `Error: instance "web1" has a device "eth0" of its own already; change it: fabricctl config device set web1 eth0 KEY=VALUE`},
		{"config device override web1 eth2", 1, `Error: instance "web1" has no device "eth2", and neither has a profile of it`},
		{"config keys pool", 2, `Error: fabricctl config keys: there are no config keys of "pool"; want one of device-disk, device-nic, device-none, instance, member, network, server, storage-dir; see "fabricctl config keys --help"`},
		{"network set lan0 ipv4.nta=x", 1, `Error: network lan0 has no config key "ipv4.nta"; did you mean "ipv4.nat"?`},
		{"network set lan0 ipv4.nat=true ipv4.nat=false", 2, `Error: fabricctl network set: key "ipv4.nat" is given twice; see "fabricctl network set --help"`},
		{"network show lan1", 1, `Error: GET /1.0/networks/lan1 is not known here`},
		{"image import /does/not/exist", 1, `Error: read the image: open /does/not/exist: no such file or directory`},
		{"image import /tmp", 1, `Error: read the image: /tmp is a directory; give a tarball`},
		{"cluster bootstrap n1", 2, `Error: fabricctl cluster bootstrap: --address is missing: at which ADDRESS[:PORT] do the other members reach this one?; see "fabricctl cluster bootstrap --help"`},
		{"cluster join x --address n1", 2, `Error: fabricctl cluster join: --address "n1" is not ADDRESS[:PORT], such as 192.0.2.1 or [2001:db8::1]:8443; see "fabricctl cluster join --help"`},
		{"cluster update-certificate cluster.crt", 2, `Error: fabricctl cluster update-certificate: KEY-FILE is missing; see "fabricctl cluster update-certificate --help"`},
		{"cluster update-certificate /does/not/exist /tmp", 1, `Error: read the certificate: open /does/not/exist: no such file or directory`},
		{"cluster revoke-token n4", 1, `Error: there is no token for member "n4"; see "fabricctl cluster list-tokens"`},
		{"bgp peer add tor1 192.0.2.256 65001", 2, `Error: fabricctl bgp peer add: ADDRESS "192.0.2.256" is not an IP address; see "fabricctl bgp peer add --help"`},
		{"gateway create gw --interface eth1 --address 192.0.2.1/24 --unicast --peer 192.0.2", 2, `Error: fabricctl gateway create: --peer "192.0.2" is not an address; see "fabricctl gateway create --help"`},
		{"gateway create gw --interface eth1 --address 2001:db8::1/64 --ra-interval 1500ms", 2, `Error: fabricctl gateway create: --ra-interval 1.5s: want whole seconds; see "fabricctl gateway create --help"`},
		{"bgp peer add tor1 65001", 2, `Error: fabricctl bgp peer add: ASN is missing, or the address: give ADDRESS, --interface or --dynamic; see "fabricctl bgp peer add --help"`},
		{"bgp peer add tor1 192.0.2.254 65001 --interface eth1", 2, `Error: fabricctl bgp peer add: unexpected argument "192.0.2.254": with --interface or --dynamic the address is found; see "fabricctl bgp peer add --help"`},
		{"bgp peer add tor1 192.0.2.254 AS1", 2, `Error: fabricctl bgp peer add: ASN "AS1" is not a number from 1 to 4294967295, internal or external; see "fabricctl bgp peer add --help"`},
		{"bgp peer add tor1 192.0.2.254 1 --password secret", 2, `Error: fabricctl bgp peer add: unknown flag: --password; see "fabricctl bgp peer add --help"`},
		{"bgp peer add tor1 192.0.2.254 1 --password-stdin", 2, `Error: fabricctl bgp peer add: the password is empty; see "fabricctl bgp peer add --help"`},
		{"bgp peer add tor1 192.0.2.254 1 --graceful-restart 0", 2, `Error: fabricctl bgp peer add: --graceful-restart 0: want a number above 0; leave it out for the default; see "fabricctl bgp peer add --help"`},
		{"bgp peer set tor1", 2, `Error: fabricctl bgp peer set: there is nothing to change: say with flags what shall be so; see "fabricctl bgp peer set --help"`},
		{"bgp peer set tor1 --address 192.0.2.1 --interface eth1", 2, `Error: fabricctl bgp peer set: --address and --interface exclude each other; see "fabricctl bgp peer set --help"`},
		{"bgp peer set tor1 --password-stdin", 2, `Error: fabricctl bgp peer set: the password is empty; to have none, say password: '' with bgp peer edit; see "fabricctl bgp peer set --help"`},
		{"bgp routes --in tor1 --out tor1", 2, `Error: fabricctl bgp routes: --in and --out exclude each other; see "fabricctl bgp routes --help"`},
		{"bgp rpki add rtr1 192.0.2.1 --port 70000", 2, `Error: fabricctl bgp rpki add: --port "70000": want a whole number; see "fabricctl bgp rpki add --help"`},
		{"bgp rpki add rtr1 192.0.2.1 --port 0", 2, `Error: fabricctl bgp rpki add: --port 0: want a number above 0; leave it out for the default; see "fabricctl bgp rpki add --help"`},
		{"bgp rpki add rtr1 192.0.2.1 --expire 0", 2, `Error: fabricctl bgp rpki add: --expire 0: want a time above 0; leave it out for the default; see "fabricctl bgp rpki add --help"`},
		{"anycast create dns 203.0.113.53 --rise 0", 2, `Error: fabricctl anycast create: --rise 0: want a number above 0; leave it out for the default; see "fabricctl anycast create --help"`},
		{"anycast create dns 203.0.113.53 --fall 0", 2, `Error: fabricctl anycast create: --fall 0: want a number above 0; leave it out for the default; see "fabricctl anycast create --help"`},
		{"anycast create dns 203.0.113.53 --interval 0s", 2, `Error: fabricctl anycast create: --interval 0: want a time above 0; leave it out for the default; see "fabricctl anycast create --help"`},
		{"bgp rpki set rtr1", 2, `Error: fabricctl bgp rpki set: there is nothing to change: say with flags what shall be so; see "fabricctl bgp rpki set --help"`},
		{"bgp bfd-profile set fast --debug", 2, `Error: fabricctl bgp bfd-profile set: there is nothing to change: say with flags what shall be so; see "fabricctl bgp bfd-profile set --help"`},
		{"bgp drain", 2, `Error: fabricctl bgp drain: MEMBER is missing; see "fabricctl bgp drain --help"`},
		{"anycast set web", 2, `Error: fabricctl anycast set: there is nothing to change: say with flags what shall be so; see "fabricctl anycast set --help"`},
		{"anycast create dns", 2, `Error: fabricctl anycast create: PREFIX is missing; see "fabricctl anycast create --help"`},
		{"anycast create dns 10.1.2.3/8", 2, `Error: fabricctl anycast create: 10.1.2.3/8 has bits set past its length: did you mean 10.0.0.0/8?; see "fabricctl anycast create --help"`},
		{"anycast set", 2, `Error: fabricctl anycast set: NAME is missing; see "fabricctl anycast set --help"`},
		{"anycast create dns 203.0.113.53 --check udp:53", 2, `Error: fabricctl anycast create: --check "udp:53": want process, tcp:PORT, http:PORT[/PATH], https:PORT[/PATH], dns:PORT/NAME or exec:COMMAND; see "fabricctl anycast create --help"`},
		{"anycast create dns 203.0.113.53 --check exec:", 2, `Error: fabricctl anycast create: --check "exec:": want a command, as in exec:/usr/bin/check; see "fabricctl anycast create --help"`},
		{"anycast create dns 203.0.113.53 --interval 1", 2, `Error: fabricctl anycast create: --interval "1": want a time such as 500ms or 1s; see "fabricctl anycast create --help"`},
		{"route list 300.0.0.1", 2, `Error: fabricctl route list: "300.0.0.1" is not a prefix (ADDRESS/LENGTH); see "fabricctl route list --help"`},
		{"monitor --type bgp", 2, `Error: fabricctl monitor: there are no events of type "bgp"; want one of lifecycle, logging, operation, routing; see "fabricctl monitor --help"`},
		{"query 1.0", 2, `Error: fabricctl query: path "1.0" does not begin with /, as in /1.0/instances; see "fabricctl query --help"`},
		{"query -d {x} /1.0", 2, `Error: fabricctl query: the data are not JSON; see "fabricctl query --help"`},
	} {
		args, err := words(c.line)
		if err != nil {
			t.Fatal(err)
		}
		got := f.run(t, args...)
		if got.status != c.status || got.err != c.want+"\n" || got.out != "" {
			t.Errorf("%s: status %d, want %d\nstdout %q\nstderr %s\nwant   %s", c.line, got.status, c.status, got.out, strings.TrimSuffix(got.err, "\n"), c.want)
		}
	}
}

func TestNoDaemon(t *testing.T) {
	dir := shortDir(t)
	dead := filepath.Join(dir, "dead")
	l, err := net.Listen("unix", dead)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	missing := filepath.Join(dir, "missing")
	long := filepath.Join(dir, strings.Repeat("x", 120))
	for socket, want := range map[string]string{
		missing: "Error: fabric-node is not running here: there is no socket " + missing + "; start it with \"systemctl start fabric-node\", or name its socket with --socket\n",
		dead:    "Error: fabric-node is not running here: nobody answers on " + dead + "; start it with \"systemctl start fabric-node\"\n",
		long:    "Error: socket path " + long + " is too long\n",
	} {
		for _, line := range []string{"list", "monitor", "query /1.0", "--debug list"} {
			got := call{socket: socket}.run(t, strings.Fields(line)...)
			if _, last, ok := strings.Cut(got.err, "Error: "); got.status != 1 || !ok || "Error: "+last != want {
				t.Errorf("%s: %+v, want %q", line, got, want)
			}
		}
	}
}

func TestNoPermission(t *testing.T) {
	a := &app{socket: filepath.Join(shortDir(t), "socket")}
	err := a.noDaemon(&net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EACCES)})
	want := "you may not use " + a.socket + `; run fabricctl as root or as a member of group "root"`
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if err := a.noDaemon(os.NewSyscallError("open", syscall.EACCES)); err != nil {
		t.Errorf("a file that may not be read is taken for the daemon: %v", err)
	}
}

// Ctrl-C while an operation goes on says that it does, and where to look.
func TestInterrupted(t *testing.T) {
	f := newFake(t)
	op := map[string]any{"id": "11-22", "status_code": 103, "description": "Starting instance"}
	f.on("PUT /1.0/instances/web1/state", answer{metadata: op, operation: true})
	f.on("GET /1.0/operations/11-22/wait?timeout=30", answer{metadata: op})
	ctx, cancel := context.WithCancel(t.Context())
	f.after("GET /1.0/operations/11-22/wait?timeout=30", cancel)
	got := call{socket: f.socket, ctx: ctx}.run(t, "start", "web1")
	want := "Error: interrupted; operation 11-22 goes on, see \"fabricctl operation show 11-22\"\n"
	if got.status != 130 || got.err != want {
		t.Errorf("%+v, want %q", got, want)
	}
	got = call{socket: f.socket, ctx: ctx}.run(t, "list")
	if got.status != 130 || got.err != "Error: interrupted\n" {
		t.Errorf("%+v", got)
	}
}

func TestNoWait(t *testing.T) {
	f := newFake(t)
	f.on("PUT /1.0/instances/web1/state", answer{metadata: map[string]any{"id": "11-22", "status_code": 103}, operation: true})
	for _, flag := range []string{"--no-wait", "--wait=false"} {
		if got := f.run(t, "start", "web1", flag); got != (result{0, "11-22\n", ""}) {
			t.Errorf("%s: %+v", flag, got)
		}
	}
}

// A debug log shows requests and answers, but no secret.
func TestDebug(t *testing.T) {
	f := newFake(t)
	f.on("POST /1.0/bgp/peers", answer{})
	got := call{socket: f.socket, stdin: strings.NewReader("s3cr\"et\n")}.run(t, "--debug", "bgp", "peer", "add", "tor1", "192.0.2.254", "65001", "--password-stdin")
	if got.status != 0 || got.out != "BGP peer tor1 added\n" {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(got.err, "> POST /1.0/bgp/peers") || !strings.Contains(got.err, `"asn":65001`) || strings.Contains(got.err, "s3cr") || strings.Contains(got.err, "et\"") {
		t.Errorf("debug log:\n%s", got.err)
	}
	if asked := f.requests(); len(asked) != 1 || !strings.Contains(asked[0], `"password":"s3cr\"et"`) {
		t.Errorf("asked %q", asked)
	}
}

func TestDebugHidesSecrets(t *testing.T) {
	for _, text := range []string{
		`{"fds":{"0":"s3cret","1":"s3cret","2":"s3cret","control":"s3cret"}}`, `{"password" : "s3cret"}`, `{"cluster_token":"s3cret`,
	} {
		var out strings.Builder
		(&logged{to: &out}).body("<", []byte(text))
		if strings.Contains(out.String(), "s3cret") {
			t.Errorf("%s is shown as %s", text, out.String())
		}
	}
}

// While an editor has the terminal, Ctrl-C is the editor's.
func TestConcerns(t *testing.T) {
	a := &app{}
	for _, editing := range []bool{false, true} {
		a.editing.Store(editing)
		if a.concerns(os.Interrupt) == editing || !a.concerns(syscall.SIGTERM) {
			t.Errorf("editing %v: SIGINT concerns us: %v, SIGTERM: %v", editing, a.concerns(os.Interrupt), a.concerns(syscall.SIGTERM))
		}
	}
}

func TestSocketIsInTheDaemonsDirectory(t *testing.T) {
	dir := shortDir(t)
	got := call{env: map[string]string{"FABRIC_DIR": dir}}.run(t, "list")
	if want := "there is no socket " + filepath.Join(dir, "unix.socket") + ";"; !strings.Contains(got.err, want) {
		t.Errorf("%+v, want %q", got, want)
	}
}
