package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"netfabric/fabric"
)

func TestNoCluster(t *testing.T) {
	w := newWorld(t)
	got := w.run(t, "list")
	if got.status != 1 || !strings.HasPrefix(got.err, "Error: this daemon is in no cluster yet; form one with") || strings.Count(got.err, "\n") != 1 {
		t.Errorf("%+v", got)
	}
}

// A transcript of a cluster's life, as a user sees it.
func TestTranscript(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "alpine.tar"), []byte("an image"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, step := range []struct{ line, want string }{
		{"cluster bootstrap n1 --address 192.0.2.1:8443", "Cluster formed, its first member is n1\n"},
		{"version", "Client version: unknown\nServer version: 1.2.3\n"},
		{"config set core.bgp_asn=65000 user.owner=alice", ""},
		{"config set core.bgp_asn 65001", ""},
		{"config get core.bgp_asn", "65001\n"},
		{"config unset user.owner", ""},
		{"config get user.owner", "\n"},
		{"network create lan0 ipv4.address=10.1.0.1/24 ipv6.address=none", "Network lan0 created\n"},
		{"network set lan0 ipv4.nat=true", ""},
		{"network get lan0 ipv4.nat", "true\n"},
		{"network unset lan0 ipv4.nat", ""},
		{"network list -f csv", "lan0,bridge,YES,10.1.0.1/24,none,,0,CREATED\n"},
		{"storage create local dir", "Storage pool local created\n"},
		{"profile create web user.role=web", "Profile web created\n"},
		{"profile device add default root disk path=/ pool=local", "Device root added to default\n"},
		{"profile device add default eth0 nic network=lan0", "Device eth0 added to default\n"},
		{"profile device list default", "eth0\nroot\n"},
		{"image import alpine.tar --alias alpine description=Alpine", "Image imported with fingerprint: FP\n"},
		{"image list -f csv", "alpine,FP,no,Alpine,x86_64,CONTAINER,8B,DATE\n"},
		{"image alias create stable alpine", ""},
		{"image alias list -f csv", "alpine,FP,CONTAINER,\nstable,FP,CONTAINER,\n"},
		{"image export alpine out.tar", "Image written to out.tar\n"},
		{"anycast create dns 203.0.113.53 2001:db8:53::53/128 --check tcp:53 --interval 500ms --min-healthy 0 --weight link-bandwidth", "Anycast service dns created\n"},
		{"anycast set dns --check http:80/health --expect-body ok --fall 4 --weight none --addresses 203.0.113.53,203.0.113.54", ""},
		{"anycast list -f csv", "dns,\"203.0.113.53/32\n203.0.113.54/32\",http:80/health,0 of 0,,\n"},
		{"anycast set dns --check tcp:53 --addresses 203.0.113.53 --description names", ""},
		{"anycast list -f csv", "dns,203.0.113.53/32,tcp:53,0 of 0,,names\n"},
		{"bgp peer add tor1 192.0.2.254 65010 --export own --members n1 --hold-time 3", "BGP peer tor1 added\n"},
		{"bgp peer list -f csv", "tor1,192.0.2.254,65010,n1,own,,none,NO,0 of 1,\n"},
		{"bgp bfd-profile create fast --interval 50 --strict --description racks", "BFD profile fast created\n"},
		{"bgp peer set tor1 --bfd-profile fast --bfd-multiplier 5", ""},
		{"bgp bfd-profile list -f csv", "fast,50 ms,3,NO,YES,tor1,racks\n"},
		{"bgp bfd-profile set fast --interval 100 --strict=false", ""},
		{"bgp bfd-profile list -f csv", "fast,100 ms,3,NO,NO,tor1,racks\n"},
		{"bgp peer set tor1 --bfd-profile= --bfd-multiplier 0 --add-path receive", ""},
		{"bgp bfd-profile delete fast", "BFD profile fast deleted\n"},
		{"bgp peer add rack1 --interface eth7 external --export own", "BGP peer rack1 added\n"},
		{"bgp rpki add rtr1 192.0.2.50 --port 8282 --expire 1h", "RPKI cache rtr1 added\n"},
		{"bgp rpki list -f csv", "rtr1,192.0.2.50:8282,n1,0,0,0,the member has not said anything of this cache,\n"},
		{"bgp rpki set rtr1 --address 2001:db8::50 --retry 30s --expire 0 --description near", ""},
		{"bgp rpki list -f csv", "rtr1,[2001:db8::50]:8282,n1,0,0,0,the member has not said anything of this cache,near\n"},
		{"bgp rpki remove rtr1", "RPKI cache rtr1 deleted\n"},
		{"cluster group create edge --members n1", "Cluster group edge created\n"},
		{"cluster group add n1 edge", "Member n1 is in edge now\n"},
		{"cluster group rename edge border", "Cluster group edge is called border now\n"},
		{"cluster group list -f csv", "border,,n1\ndefault,Members that are in no other group,\n"},
		{"cluster group remove n1 border", "Member n1 is in default now\n"},
		{"cluster group delete border", "Cluster group border deleted\n"},
		{"bgp summary -f csv", "n1,rack1,eth7,0,idle,,,0,0,0,0,0,the member has not said anything of this session\nn1,tor1,192.0.2.254,65010,idle,,,0,0,0,0,0,the member has not said anything of this session\n"},
		{"bgp peer set tor1 --disabled", ""},
		{"bgp summary -f csv", "n1,rack1,eth7,0,idle,,,0,0,0,0,0,the member has not said anything of this session\nn1,tor1,192.0.2.254,65010,disabled,,,0,0,0,0,0,the peer is disabled; to have it again: fabricctl bgp peer set tor1 --disabled=false\n"},
		{"bgp peer list -f csv", "rack1,eth7,external,all,own,,none,NO,0 of 1,\ntor1,192.0.2.254,65010,n1,own,,none,NO,disabled,\n"},
		{"bgp peer set tor1 --disabled=false", ""},
		{"bgp peer set rack1 --dynamic 198.51.100.0/24 --max-sessions 20", ""},
		{"bgp peer list -f csv", "rack1,198.51.100.0/24,external,all,own,,none,NO,0 of 1,\ntor1,192.0.2.254,65010,n1,own,,none,NO,0 of 1,\n"},
		{"bgp peer set rack1 --interface eth8 --max-sessions 0", ""},
		{"bgp peer list -f csv", "rack1,eth8,external,all,own,,none,NO,0 of 1,\ntor1,192.0.2.254,65010,n1,own,,none,NO,0 of 1,\n"},
		{"bgp peer remove rack1", "BGP peer rack1 removed\n"},
		{"bgp policy create ix --description exchange", "BGP policy ix created\n"},
		{"bgp peer set tor1 --export ix --import default-only", ""},
		{"bgp peer list -f csv", "tor1,192.0.2.254,65010,n1,ix,default-only,none,NO,0 of 1,\n"},
		{"bgp peer set tor1 --install default --table 100 --metric 50", ""},
		{"bgp peer list -f csv", "tor1,192.0.2.254,65010,n1,ix,default-only,default table 100 metric 50,NO,0 of 1,\n"},
		{"bgp peer set tor1 --install none --max-prefix 100 --max-prefix-restart 60", ""},
		{"bgp peer list -f csv", "tor1,192.0.2.254,65010,n1,ix,default-only,none,NO,0 of 1,\n"},
		{"bgp peer set tor1 --max-prefix-action warn", ""},
		{"bgp peer set tor1 --max-prefix 0 --interface eth8 --asn external", ""},
		{"bgp peer list -f csv", "tor1,eth8,external,n1,ix,default-only,none,NO,0 of 1,\n"},
		{"bgp peer set tor1 --address 192.0.2.254 --asn 65010", ""},
		{"bgp peer list -f csv", "tor1,192.0.2.254,65010,n1,ix,default-only,none,NO,0 of 1,\n"},
		{"bgp policy list -f csv", "all,1,YES,,Everything\ndefault-only,1,YES,tor1,The default routes\nix,0,NO,tor1,exchange\nnone,0,YES,,Nothing\nown,1,YES,,What this cluster announces itself\n"},
		{"gateway create gw --interface eth1 --address 2001:db8:2::1/64 --ra-dns 2001:db8::53 --ra-lifetime 10m --ra-trust fe80::9 --unicast --peer fe80::7 --checksum rfc9568 --no-accept --sync edge",
			"Gateway gw created with VRID 1: nobody to take over after a crash\nWarning: sync set edge has no other gateway: nothing moves along\nWarning: only member n1 takes part: when it fails, nobody takes over\n"},
		{"gateway list -f csv", "gw,2001:db8:2::1/64,eth1,1,sync edge,,n1 (200): the member has not said anything of this gateway,nobody to take over after a crash\n"},
		{"gateway delete gw", "Gateway gw deleted\n"},
		{"launch alpine dns1 -c anycast=dns --target @default", "Instance dns1 started on n1\n"},
		{"init alpine web1 -p default -p web -d eth0,ipv4.address=10.1.0.80", "Instance web1 created on n1\n"},
		{"list -c ns4L -f csv", "dns1,RUNNING,10.1.0.2 (eth0),n1\nweb1,STOPPED,,n1\n"},
		{"network list-leases lan0 -f csv -q", "LEASES"},
		{"config set web1 limits.memory=256MiB user.x=y", ""},
		{"config get web1 limits.memory", "256MiB\n"},
		{"config get web1 user.role --expanded", "web\n"},
		{"config device add web1 eth1 nic network=lan0", "Device eth1 added to web1\n"},
		{"config device get web1 eth1 network", "lan0\n"},
		{"config device remove web1 eth1", "Device eth1 removed from web1\n"},
		{"config device override web1 root path=/", "Device root overridden for web1\n"},
		{"config device get web1 root pool", "local\n"},
		{"config device remove web1 root", "Device root removed from web1\n"},
		{"profile remove web1 web", "Profile web removed from web1\n"},
		{"profile delete web", "Profile web deleted\n"},
		{"start --all", ""},
		{"restart web1", ""},
		{"list status=running -c n -f csv", "dns1\nweb1\n"},
		{"stop web1 dns1", ""},
		{"delete web1 dns1", ""},
		{"list -f json", "[]\n"},
		{"launch alpine e1 -e", "Instance e1 started on n1\n"},
		{"delete -f e1", ""},
		{"anycast delete dns", "Anycast service dns deleted\n"},
		{"bgp peer remove tor1", "BGP peer tor1 removed\n"},
		{"bgp policy delete ix", "BGP policy ix deleted\n"},
		{"image delete alpine", ""},
		{"profile device remove default root eth0", "Device root removed from default\nDevice eth0 removed from default\n"},
		{"storage delete local", "Storage pool local deleted\n"},
		{"network delete lan0", "Network lan0 deleted\n"},
		{"cluster set n1 scheduler.instance=manual", ""},
		{"cluster get n1 scheduler.instance", "manual\n"},
		{"cluster list -f csv", "MEMBER"},
	} {
		got := w.must(t, step.line)
		fingerprint := fmt.Sprintf("%x", sha256.Sum256([]byte("an image")))
		want := step.want
		switch {
		case strings.Contains(want, "FP"):
			got = strings.NewReplacer(fingerprint, "FP", short(fingerprint), "FP").Replace(got)
			if strings.Contains(want, "DATE") {
				got = got[:strings.LastIndex(got, ",")] + ",DATE\n"
			}
		case want == "LEASES":
			if !strings.Contains(got, "10.1.0.2,") || !strings.Contains(got, "10.1.0.80,") {
				t.Errorf("%s: %q", step.line, got)
			}
			continue
		case want == "MEMBER":
			if !strings.HasPrefix(got, "n1,https://192.0.2.1:8443,") || !strings.Contains(got, ",ONLINE,") {
				t.Errorf("%s: %q", step.line, got)
			}
			continue
		}
		if got != want {
			t.Errorf("%s: %q, want %q", step.line, got, want)
		}
	}
	if data, err := os.ReadFile("out.tar"); err != nil || string(data) != "an image" {
		t.Errorf("exported %q %v", data, err)
	}
}

func TestTokens(t *testing.T) {
	w := formed(t)
	token := w.must(t, "cluster add n2")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(token, "\n"))
	if err != nil || !strings.Contains(string(raw), `"server_name":"n2"`) || !strings.Contains(string(raw), "secret of n2") {
		t.Errorf("token %q: %s %v", token, raw, err)
	}
	w.must(t, "config trust add laptop")
	if got := w.must(t, "cluster list-tokens -f csv"); !strings.HasPrefix(got, "n2,") || strings.Count(got, "\n") != 1 {
		t.Errorf("%q", got)
	}
	pair := [2]string{filepath.Join(t.TempDir(), "cluster.crt"), filepath.Join(t.TempDir(), "cluster.key")}
	for i, text := range []string{"certificate", "key"} {
		if err := os.WriteFile(pair[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if w.must(t, "cluster update-certificate "+pair[0]+" "+pair[1]); w.shown != "certificatekey" {
		t.Errorf("replaced by %q", w.shown)
	}
	if w.must(t, "cluster update-certificate"); w.shown != "" {
		t.Errorf("replaced by %q", w.shown)
	}
	if got := w.must(t, "cluster revoke-token n2"); got != "Token of member n2 revoked\n" {
		t.Errorf("%q", got)
	}
	if got := w.must(t, "cluster list-tokens -f csv"); got != "" {
		t.Errorf("%q is left", got)
	}
}

func TestTrust(t *testing.T) {
	w := formed(t)
	file := filepath.Join(t.TempDir(), "client.crt")
	if err := os.WriteFile(file, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := w.run(t, "config", "trust", "add", "laptop", file); got.status != 1 || got.err != "Error: "+file+" is not a certificate in PEM\n" {
		t.Errorf("%+v", got)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate(t)})
	if err := os.WriteFile(file, block, 0o644); err != nil {
		t.Fatal(err)
	}
	w.must(t, "config trust add laptop "+file)
	fingerprint := short(fabric.Fingerprint(string(block)))
	if got := w.must(t, "config trust list -f csv"); got != "laptop,client,,"+fingerprint+"\n" {
		t.Errorf("%q", got)
	}
	w.must(t, "config trust show "+fingerprint)
	w.must(t, "config trust remove "+fingerprint)
	if got := w.must(t, "config trust list -f csv"); got != "" {
		t.Errorf("%q", got)
	}
}

// certificate is a self-signed certificate in DER.
func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestOperations(t *testing.T) {
	w := formed(t)
	w.must(t, "init alpine web1 -s local")
	id := strings.TrimSpace(w.must(t, "start web1 --no-wait"))
	w.must(t, "operation wait "+id)
	if got := w.must(t, "operation show -f csv "+id); !strings.Contains(got, "description,Starting instance\n") || !strings.Contains(got, "status,Success\n") {
		t.Errorf("%s", got)
	}
	if got := w.must(t, "operation list -f csv"); !strings.Contains(got, id+",TASK,Starting instance,SUCCESS,NO,") {
		t.Errorf("%s", got)
	}
	if got := w.run(t, "operation", "cancel", id); got.status != 1 || strings.Count(got.err, "\n") != 1 {
		t.Errorf("cancel of what has ended: %+v", got)
	}
}

// What show prints is what edit takes, for everything that can be edited.
func TestShowEdit(t *testing.T) {
	w := formed(t)
	w.must(t, "anycast create dns 203.0.113.53 --check http:80/health")
	w.must(t, "bgp peer add tor1 192.0.2.254 65010 --export own")
	w.must(t, "bgp policy create ix")
	w.must(t, "bgp bfd-profile create fast --interval 50")
	w.must(t, "init alpine web1 -s local")
	for _, c := range []struct {
		edit, object, text string
	}{
		{"network edit lan0", "network/lan0", "description: new\nconfig: {ipv4.address: 10.1.0.1/24, ipv6.address: none, bridge.mtu: 1400}"},
		{"storage edit local", "pool/local", "description: new\nconfig: {user.a: 1.10}"},
		{"profile edit default", "profile/default", "description: new\nconfig: {user.a: 2026-01-01}\ndevices: {root: {type: disk, path: /, pool: local}}"},
		{"anycast edit dns", "anycast/dns", "addresses: [203.0.113.54/32]\ncheck: {type: process}"},
		{"bgp peer edit tor1", "peer/tor1", "address: 192.0.2.253\nasn: 65011\npassword: secret\nmembers: [n1]"},
		{"bgp policy edit ix", "policy/ix", "rules:\n- {match: {kinds: [anycast]}, action: accept, set: {med: 5, add_communities: [no-export, \"65000:1\"]}}"},
		{"bgp bfd-profile edit fast", "bfd-profile/fast", "interval: 100\nmultiplier: 5\nstrict: true"},
		{"config edit web1", "instance/web1", "description: new\nconfig: {user.a: true}\ndevices: {root: {type: disk, path: /, pool: local}}\nprofiles: [default]"},
		{"cluster edit n1", "member/n1", "failure_domain: b\ndescription: new"},
		{"config edit", "cluster/cluster", "config: {core.bgp_asn: 65000}"},
	} {
		key, err := fabric.ParseKey(c.object)
		if err != nil {
			t.Fatal(err)
		}
		before, _ := w.store.Snapshot().Get(key)
		show := strings.Replace(c.edit, " edit", " show", 1)
		shown := w.must(t, show)
		same := w.call
		same.stdin = strings.NewReader(shown)
		if got := same.run(t, strings.Fields(c.edit)...); got != (result{}) {
			t.Errorf("%s with what is shown: %+v", c.edit, got)
		}
		if again := w.must(t, show); again != shown {
			t.Errorf("%s with what is shown changed\n%s\nto\n%s", c.edit, shown, again)
		}
		edited := w.call
		edited.stdin = strings.NewReader(c.text)
		if got := edited.run(t, strings.Fields(c.edit)...); got != (result{}) {
			t.Errorf("%s: %+v", c.edit, got)
			continue
		}
		after, _ := w.store.Snapshot().Get(key)
		if changed := before.Head().Revision != after.Head().Revision; !changed {
			t.Errorf("%s changed nothing", c.edit)
		}
	}
	other := w.call
	other.stdin = strings.NewReader("name: tor2\naddress: 192.0.2.253\nasn: 65011\n")
	if got := other.run(t, "bgp", "peer", "edit", "tor1"); got.status != 1 || !strings.Contains(got.err, `name is "tor2", but this is "tor1"`) {
		t.Errorf("another name: %+v", got)
	}
	s := w.store.Snapshot()
	if p, _ := s.Peer("tor1"); p.Password != "secret" || p.ASN != 65011 || p.Address != netip.MustParseAddr("192.0.2.253") {
		t.Errorf("peer %+v", p)
	}
	if p, _ := s.Pool("local"); p.Config["user.a"] != "1.10" {
		t.Errorf("pool %+v", p)
	}
	if p, _ := s.Profile("default"); p.Config["user.a"] != "2026-01-01" {
		t.Errorf("profile %+v", p)
	}
	if i, _ := s.Instance("web1"); i.Config["user.a"] != "true" {
		t.Errorf("instance %+v", i)
	}
	if out := w.must(t, "bgp peer show tor1"); strings.Contains(out, "secret") || !strings.Contains(out, "has_password: true") {
		t.Errorf("peer is shown as\n%s", out)
	} else if got := regexp.MustCompile(`(?m)^ *(hold_time|graceful_restart|keepalive|local_asn|multihop_ttl|max_.*|metric):.*$`).FindAllString(out, -1); len(got) > 0 {
		t.Errorf("nobody has set %q, and 0 reads like off", got)
	}
}

func TestExec(t *testing.T) {
	w := formed(t)
	w.must(t, "launch alpine web1 -s local")
	w.exec = func(r fabric.ExecRequest) int {
		in, _ := io.ReadAll(r.Stdin)
		fmt.Fprintf(r.Stdout, "%q %v %s %d:%d %v in=%q\n", r.Command, r.Environment, r.Cwd, r.UID, r.GID, r.Terminal, in)
		fmt.Fprint(r.Stderr, "oops\n")
		return 7
	}
	c := w.call
	c.stdin = strings.NewReader("hello")
	got := c.run(t, "exec", "web1", "--env", "A=b c", "--cwd", "/tmp", "--user", "1000", "--group", "100", "--", "ls", "-l", "a b")
	want := result{7, `["ls" "-l" "a b"] map[A:b c] /tmp 1000:100 false in="hello"` + "\n", "oops\n"}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	c.stdin = strings.NewReader("hello")
	got = c.run(t, "exec", "-n", "web1", "true")
	if want := (result{7, `["true"] map[]  0:0 false in=""` + "\n", "oops\n"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	w.must(t, "stop -f web1")
	if got := w.run(t, "exec", "web1", "--", "true"); got.status != 1 || !strings.HasPrefix(got.err, "Error: ") || strings.Count(got.err, "\n") != 1 {
		t.Errorf("exec in a stopped instance: %+v", got)
	}
}

// On a terminal the command gets every key, and the size of the window as it changes.
func TestExecTerminal(t *testing.T) {
	w := formed(t)
	w.must(t, "launch alpine web1 -s local")
	keys, tty := pty(t)
	if _, err := raw(tty); err != nil { // so that what is typed before the program is ready stays as it is
		t.Fatal(err)
	}
	typed := make(chan string, 1)
	w.exec = func(r fabric.ExecRequest) int {
		buf := make([]byte, 3)
		io.ReadFull(r.Stdin, buf)
		typed <- fmt.Sprintf("%q terminal=%v TERM=%s", buf, r.Terminal, r.Environment["TERM"])
		io.WriteString(r.Stdout, "bye\r\n")
		return 0
	}
	c := w.call
	c.stdin, c.env = tty, map[string]string{"TERM": "vt220"}
	io.WriteString(keys, "a\x03\r")
	got := c.run(t, "exec", "-t", "web1", "--", "sh")
	if got != (result{0, "bye\r\n", ""}) {
		t.Errorf("%+v", got)
	}
	if got, want := <-typed, `"a\x03\r" terminal=true TERM=vt220`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestMonitor(t *testing.T) {
	w := formed(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, out := io.Pipe()
	a := &app{ctx: ctx, in: strings.NewReader(""), out: out, err: io.Discard, env: func(k string) string { return map[string]string{"FABRIC_SOCKET": w.socket}[k] }}
	status := make(chan int, 1)
	go func() { status <- a.run([]string{"monitor", "--type", "lifecycle", "--pretty"}); out.Close() }()
	lines := make(chan string, 100)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := r.Read(buf)
			if err != nil {
				close(lines)
				return
			}
			lines <- string(buf[:n])
		}
	}()
	// The subscription may take a moment: make events until one arrives.
	var seen []string
	for n := 0; len(seen) == 0; n++ {
		w.must(t, fmt.Sprintf("profile create p%d", n))
		select {
		case l := <-lines:
			seen = append(seen, l)
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("no event came")
		}
	}
	if l := seen[0]; !strings.Contains(l, "lifecycle [n1] profile-created /1.0/profiles/p") || strings.Count(l, "\n") != 1 {
		t.Errorf("event is %q", l)
	}
	cancel()
	if s := <-status; s != 0 {
		t.Errorf("status %d after Ctrl-C", s)
	}
}

func TestQuery(t *testing.T) {
	w := formed(t)
	for path, want := range map[string]string{"/1.0/metrics": "\nfabric_build_info{", "/1.0/openapi.json": `"openapi"`} {
		if got := w.must(t, "query "+path); !strings.Contains(got, want) {
			t.Errorf("query %s: %.200q", path, got)
		}
	}
	if got := w.must(t, "query /1.0/networks"); got != "[\n  \"/1.0/networks/lan0\"\n]\n" {
		t.Errorf("%q", got)
	}
	w.must(t, `query -X PATCH -d '{"config": {"user.owner": "bob"}}' /1.0`)
	if got := w.must(t, "config get user.owner"); got != "bob\n" {
		t.Errorf("%q", got)
	}
}

// Every list and show has every format.
func TestEveryFormat(t *testing.T) {
	w := formed(t)
	w.must(t, "anycast create dns 203.0.113.53")
	w.must(t, "bgp peer add tor1 192.0.2.254 65010 --export own")
	w.must(t, "bgp bfd-profile create fast --interval 50")
	w.must(t, "launch alpine web1 -s local -n lan0 -c anycast=dns")
	for _, line := range []string{
		"list", "info web1", "info", "config show", "config show web1", "config keys", "config trust list", "config device show web1", "image list", "image show alpine",
		"image alias list", "network list", "network show lan0", "network info lan0", "network list-leases lan0", "storage list", "storage show local",
		"storage volume list local", "profile list", "profile show default", "profile device show default", "cluster list", "cluster show n1", "cluster list-tokens",
		"operation list", "bgp peer list", "bgp peer show tor1", "bgp summary", "bgp policy list", "bgp policy show own", "bgp bfd-profile list", "bgp bfd-profile show fast", "anycast list", "anycast show dns", "route list", "route explain 203.0.113.53", "route reasons",
	} {
		for _, f := range formats {
			out := w.must(t, line+" -f "+f)
			var v any
			if f == "json" && json.Unmarshal([]byte(out), &v) != nil {
				t.Errorf("%s is no JSON: %s", line, out)
			}
			if !strings.HasSuffix(cmp.Or(out, "\n"), "\n") {
				t.Errorf("%s -f %s does not end its last line: %q", line, f, out)
			}
		}
	}
	if !slices.Contains(strings.Fields(w.must(t, "info web1 --show-log")), "log") {
		t.Error("the log is not shown")
	}
}
