package api

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStockClient runs the command line client of LXD 5.0 against the server: what people have must work.
func TestStockClient(t *testing.T) {
	if _, err := exec.LookPath("lxc"); err != nil {
		t.Skip("lxc of Debian's lxd-client is not installed; packaging/deps.sh does it")
	}
	if out, err := exec.Command("lxc", "version").CombinedOutput(); !strings.Contains(string(out), "Client version") {
		t.Skipf("lxc is not the client of LXD: %v", err)
	}
	f := bootstrapped(t, "n1", "n2")
	m := f.members["n1"]
	home := t.TempDir()
	rootfs, metadata := filepath.Join(home, "rootfs.squashfs"), filepath.Join(home, "metadata.tar")
	must(t, os.WriteFile(rootfs, []byte("hsqs: the client looks at the beginning only"), 0o600))
	var archive bytes.Buffer
	must(t, tar.NewWriter(&archive).Close())
	must(t, os.WriteFile(metadata, archive.Bytes(), 0o600))
	token, err := m.unix.AddClientToken(t.Context(), "stock")
	must(t, err)

	for _, step := range []struct {
		command string // arguments with spaces between
		stdin   string
		fails   bool
		want    []string // all of them in the output
	}{
		{command: "list", want: []string{"NAME"}},
		{command: "cluster list", want: []string{"n1", "n2", "https://192.0.2.2:8443", "ONLINE", "database-leader"}},
		{command: "cluster show n2", want: []string{"server_name: n2"}},
		{command: "cluster group list", want: []string{"default", "2"}},
		{command: "cluster group create edge", want: []string{"edge created"}},
		{command: "cluster group create default", fails: true, want: []string{"always there"}},
		{command: "cluster group assign n2 edge", want: []string{"n2"}},
		{command: "cluster group show edge", want: []string{"- n2", "name: edge"}},
		{command: "cluster group edit edge", stdin: "description: at the edge\nmembers: [n1, n2]\n"},
		{command: "cluster group list", want: []string{"edge", "at the edge", "2"}},
		{command: "cluster group remove n1 edge", want: []string{"n1"}},
		{command: "cluster group assign n1 nope", fails: true, want: []string{"nope"}},
		{command: "cluster group rename edge border", want: []string{"border"}},
		{command: "cluster group delete border", fails: true, want: []string{"n2"}},
		{command: "cluster group assign n2 default"},
		{command: "cluster group delete border", want: []string{"border deleted"}},
		{command: "cluster add n3", want: []string{"Member n3 join token:"}},
		{command: "cluster list-tokens", want: []string{"n3"}},
		{command: "cluster revoke-token n3", want: []string{"n3 deleted"}},
		{command: "network list", want: []string{"fabbr0", "10.1.0.1/24"}},
		{command: "network create web0 ipv4.address=10.7.0.1/24", want: []string{"web0 created"}},
		{command: "network show web0", want: []string{"ipv4.address: 10.7.0.1/24", "name: web0"}},
		{command: "network set web0 ipv4.nat true"},
		{command: "network get web0 ipv4.nat", want: []string{"true"}},
		{command: "network set web0 ipv4.nta true", fails: true, want: []string{`did you mean "ipv4.nat"`}},
		{command: "network info fabbr0", want: []string{"10.1.0.1/24"}},
		{command: "network delete web0", want: []string{"deleted"}},
		{command: "network delete fabbr0", fails: true, want: []string{"in use"}},
		{command: "storage list", want: []string{"local", "dir"}},
		{command: "storage create data dir --target n1", want: []string{"pending"}},
		{command: "storage create data dir --target n2", want: []string{"pending"}},
		{command: "storage create data dir", want: []string{"data created"}},
		{command: "storage show data", want: []string{"driver: dir", "status: Created"}},
		{command: "storage delete data", want: []string{"deleted"}},
		{command: "profile show default", want: []string{"network: fabbr0", "pool: local"}},
		{command: "profile create web", want: []string{"created"}},
		{command: "profile set web limits.memory 64MiB"},
		{command: "profile device add web eth1 nic network=fabbr0", want: []string{"added"}},
		{command: "profile show web", want: []string{"limits.memory: 64MiB", "eth1:"}},
		{command: "profile edit web", stdin: "\n"},
		{command: "profile delete web", want: []string{"deleted"}},
		{command: "config set core.bgp_asn 64512"},
		{command: "config get core.bgp_asn", want: []string{"64512"}},
		{command: "config set core.bgp_asn none", fails: true, want: []string{"whole number"}},
		{command: "config trust list", want: []string{"FINGERPRINT"}},
		{command: "config trust add --name laptop", want: []string{"laptop"}},
		{command: "config trust list-tokens", want: []string{"laptop"}},
		{command: "image list", want: []string{"abababababab", "busybox"}},
		{command: "image import " + metadata + " " + rootfs + " --alias mine", want: []string{"imported"}},
		{command: "image show mine", want: []string{"public: false"}},
		{command: "image alias list", want: []string{"mine"}},
		{command: "image delete mine"},
		{command: "init busybox c1", want: []string{"Creating c1"}},
		{command: "start c1"},
		{command: "launch busybox c2 --target n2 -c user.a=b", want: []string{"Starting c2"}},
		{command: "list", want: []string{"c1", "c2", "RUNNING", "10.1.0.2 (eth0)", "n2"}},
		{command: "list c2 --format csv -c ns", want: []string{"c2,RUNNING"}},
		{command: "info c1", want: []string{"Status: RUNNING", "PID: 4242"}},
		{command: "info c1 --show-log", want: []string{"log of c1 on n1"}},
		{command: "config show c1", want: []string{"volatile.base_image"}},
		{command: "config set c1 user.x y"},
		{command: "config get c1 user.x", want: []string{"y"}},
		{command: "config device add c1 eth1 nic network=fabbr0", want: []string{"added"}},
		{command: "exec c1 -- where", want: []string{"n1", "to stderr"}},
		{command: "exec c2 --cwd /tmp --env A=b --user 7 -- where", want: []string{"n2 /tmp b 7 false"}},
		{command: "exec c2 -- cat", stdin: "over two members", want: []string{"over two members"}},
		{command: "exec c2 -- exit 3", fails: true},
		{command: "network list-leases fabbr0", want: []string{"10.1.0.2", "c1"}},
		{command: "storage volume list local", want: []string{"c1", "c2"}},
		{command: "operation list", want: []string{"Executing command"}},
		{command: "restart c1"},
		{command: "delete c1", fails: true, want: []string{"running"}},
		{command: "stop c1 --force"},
		{command: "delete c1"},
		{command: "delete c2 --force"},
		{command: "rename c2 c3", fails: true},
		{command: "list --format csv"},
		{command: "cluster edit n2", stdin: "description: rack 2\nfailure_domain: r2\n"},
		{command: "cluster show n2", want: []string{"failure_domain: r2"}},
		{command: "cluster remove n2 --force --yes", want: []string{"n2 removed"}},
		{command: "remote add fab " + m.https.URL + " --accept-certificate --password wrong", fails: true, want: []string{"token is unknown"}},
		{command: "remote add fab " + m.https.URL + " --accept-certificate --password " + token.String(), want: []string{"Client certificate now trusted by server"}},
		{command: "network list fab:", want: []string{"fabbr0"}},
		{command: "launch fab:busybox fab:c4", want: []string{"Starting c4"}},
		{command: "exec fab:c4 -- cat", stdin: "over TLS", want: []string{"over TLS"}},
	} {
		out, err := stock(t, m, home, step.command, step.stdin)
		if (err != nil) != step.fails {
			t.Errorf("lxc %s: %v\n%s", step.command, err, out)
			continue
		}
		for _, want := range step.want {
			if !strings.Contains(out, want) {
				t.Errorf("lxc %s: no %q in\n%s", step.command, want, out)
			}
		}
	}
}

// stock runs the stock client against a member.
func stock(t *testing.T, m *member, home, command, stdin string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "lxc", strings.Fields(command)...)
	cmd.Env = []string{"HOME=" + home, "LXD_CONF=" + filepath.Join(home, "lxc"), "LXD_SOCKET=" + m.socket, "PATH=" + os.Getenv("PATH"), "EDITOR=false"}
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
