package api

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

func TestExec(t *testing.T) {
	f := bootstrapped(t, "n1", "n2")
	for instance, at := range map[string]string{"c1": "n1", "c2": "n2"} {
		f.members["n1"].launch(t, instance, at)
		t.Run("on "+at, func(t *testing.T) { testExec(t, f.members["n1"].unix, instance, at) })
	}
}

func testExec(t *testing.T, c *Client, instance, at string) {
	run := func(r fabric.ExecRequest) (int, string, string) {
		t.Helper()
		var out, err bytes.Buffer
		r.Stdout, r.Stderr = &out, &err
		status, failure := c.Exec(t.Context(), instance, r)
		must(t, failure)
		return status, out.String(), err.String()
	}
	big := strings.Repeat("0123456789abcdef", 1<<16)
	if status, out, _ := run(fabric.ExecRequest{Command: []string{"cat"}, Stdin: strings.NewReader(big)}); status != 0 || out != big {
		t.Fatalf("cat: status %d, %d bytes", status, len(out))
	}
	status, out, err := run(fabric.ExecRequest{Command: []string{"where"}, Cwd: "/tmp", Environment: map[string]string{"A": "b"}, UID: 7})
	if want := at + " /tmp b 7 false"; status != 0 || out != want || err != "to stderr" {
		t.Fatalf("got %d %q %q, want %q", status, out, err, want)
	}
	if _, out, _ := run(fabric.ExecRequest{Command: []string{"where"}, Terminal: true, Width: 80, Height: 25}); out != at+"   0 true" {
		t.Fatalf("got %q", out)
	}
	if status, _, _ := run(fabric.ExecRequest{Command: []string{"exit", "42"}}); status != 42 {
		t.Fatalf("status %d", status)
	}
	controls := make(chan fabric.ExecControl, 1)
	controls <- fabric.ExecControl{Width: 132, Height: 43}
	if _, out, _ := run(fabric.ExecRequest{Command: []string{"control"}, Terminal: true, Control: controls}); out != "0 132x43" {
		t.Fatalf("got %q", out)
	}
	controls <- fabric.ExecControl{Signal: 15}
	if _, out, _ := run(fabric.ExecRequest{Command: []string{"control"}, Control: controls}); out != "15 0x0" {
		t.Fatalf("got %q", out)
	}
}

func TestExecEndsWithItsCaller(t *testing.T) {
	f := bootstrapped(t, "n1", "n2")
	f.members["n1"].launch(t, "c2", "n2")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := f.members["n1"].unix.Exec(ctx, "c2", fabric.ExecRequest{Command: []string{"wait"}})
		ended <- err
	}()
	running := func(m *member) int {
		ops, err := m.unix.GetOperations(t.Context())
		must(t, err)
		n := 0
		for _, op := range ops {
			if op.Status == "Running" && op.Class == "websocket" {
				n++
			}
		}
		return n
	}
	eventually(t, "the command runs on both", func() bool { return running(f.members["n1"]) == 1 && running(f.members["n2"]) == 1 })
	cancel()
	if err := <-ended; err == nil {
		t.Fatal("no error")
	}
	eventually(t, "the command is ended", func() bool { return running(f.members["n1"])+running(f.members["n2"]) == 0 })
}

func TestExecRefusals(t *testing.T) {
	f := bootstrapped(t, "n1")
	m := f.members["n1"]
	m.launch(t, "c1", "")
	for body, want := range map[string]int{
		`{"command":["ls"],"wait-for-websocket":true,"record-output":true}`: 501,
		`{"command":["ls"]}`:                                                          501,
		`{"command":[],"wait-for-websocket":true}`:                                    400,
		`{"command":["a\u0000b"],"wait-for-websocket":true}`:                          400,
		`{"command":["ls"],"wait-for-websocket":true,"width":-1}`:                     400,
		`{"command":["ls"],"wait-for-websocket":true,"environment":{"A=B":"c"}}`:      400,
		`{"command":["ls"],"wait-for-websocket":true,"command":["rm"]}`:               400,
		`{"command":["ls"],"wait-for-websocket":true,"stdin":"x"}`:                    400,
		`{"command":["ls"],"wait-for-websocket":true,"environment":{"A":"c\u0000d"}}`: 400,
	} {
		if resp, e := m.raw(t, "POST", "/1.0/instances/c1/exec", body); resp.StatusCode != want {
			t.Errorf("%s: status %d (%s), want %d", body, resp.StatusCode, e.Error, want)
		}
	}
	resp, e := m.raw(t, "POST", "/1.0/instances/c1/exec", `{"command":["ls"],"wait-for-websocket":true}`)
	if resp.StatusCode != http.StatusAccepted {
		t.Fatal(e.Error)
	}
	op, err := e.MetadataAsOperation()
	must(t, err)
	secrets, _ := op.Metadata["fds"].(map[string]any)
	if len(secrets) != 4 {
		t.Fatalf("got %v", op.Metadata)
	}
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
	for name, query := range map[string]string{"no secret": "", "another secret": "?secret=" + newSecret()} {
		if resp, _ := m.raw(t, "GET", "/1.0/operations/"+op.ID+"/websocket"+query, "", upgrade...); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
	}
	// Secrets are shown once.
	for _, path := range []string{"/1.0/operations/" + op.ID, "/1.0/operations?recursion=1"} {
		if _, e := m.raw(t, "GET", path, ""); strings.Contains(string(e.Metadata), secrets["0"].(string)) {
			t.Errorf("%s shows the secret", path)
		}
	}
	must(t, m.unix.DeleteOperation(t.Context(), op.ID))
	cancelled := &Operation{Operation: *op, client: m.unix}
	refused(t, cancelled.Wait(t.Context()), fabric.CodeConflict, "cancelled")
}

// What a client has under way ends with the trust in it.
func TestRevokedClientIsCutOff(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	m.launch(t, "c1", "")
	token, err := m.unix.AddClientToken(t.Context(), "laptop")
	must(t, err)
	client := m.tlsClient(t, "laptop")
	must(t, client.UseClientToken(t.Context(), "laptop", token.String()))
	events, err := client.Events(t.Context(), "logging")
	must(t, err)
	defer events.Close()
	ended := make(chan error)
	go func() {
		_, err := client.Exec(t.Context(), "c1", fabric.ExecRequest{Command: []string{"wait"}})
		ended <- err
	}()
	running := func() *incusapi.Operation {
		ops, err := m.unix.GetOperations(t.Context())
		must(t, err)
		for _, op := range ops {
			if op.Class == "websocket" && op.Status == "Running" {
				return &op
			}
		}
		return nil
	}
	eventually(t, "the command runs", func() bool { return running() != nil })
	all, err := m.unix.GetCertificates(t.Context())
	must(t, err)
	must(t, m.unix.DeleteCertificate(t.Context(), all[0].Fingerprint))
	if err := <-ended; err == nil {
		t.Error("the command goes on as if nothing had happened")
	}
	if _, err := events.Next(); err == nil {
		t.Error("events go on")
	}
	eventually(t, "the command is ended", func() bool { return running() == nil })
}
