package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"netfabric/fabric"

	"golang.org/x/sys/unix"
)

// lan0 is a network as the API shows it.
func lan0(nat string) map[string]any {
	return map[string]any{"name": "lan0", "type": "bridge", "description": "", "config": map[string]string{"ipv4.nat": nat}}
}

func TestSetSendsIfMatch(t *testing.T) {
	f := newFake(t)
	f.on("GET /1.0/networks/lan0", answer{metadata: lan0("true"), etag: "e1"})
	f.on("PUT /1.0/networks/lan0", answer{})
	if got := f.run(t, "network", "set", "lan0", "bridge.mtu=9000", "user.x=a=b"); got != (result{}) {
		t.Errorf("%+v", got)
	}
	want := []string{`PUT /1.0/networks/lan0 if e1 {"config":{"bridge.mtu":"9000","ipv4.nat":"true","user.x":"a=b"},"description":""}`}
	if asked := f.requests(); !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

// Setting a key when somebody else is faster starts over on what they made.
func TestSetStartsOver(t *testing.T) {
	f := newFake(t)
	f.on("GET /1.0/networks/lan0", answer{metadata: lan0("true"), etag: "e1"})
	f.on("PUT /1.0/networks/lan0", answer{err: fabric.Errorf(fabric.CodeStale, "stale", "it changed")})
	f.after("PUT /1.0/networks/lan0", func() {
		f.answers["GET /1.0/networks/lan0"] = answer{metadata: lan0("false"), etag: "e2"}
		f.answers["PUT /1.0/networks/lan0"] = answer{}
	})
	if got := f.run(t, "network", "set", "lan0", "bridge.mtu=9000"); got != (result{}) {
		t.Errorf("%+v", got)
	}
	want := `PUT /1.0/networks/lan0 if e2 {"config":{"bridge.mtu":"9000","ipv4.nat":"false"},"description":""}`
	if asked := f.requests(); len(asked) != 2 || asked[1] != want {
		t.Errorf("asked %q, want %q last", asked, want)
	}
}

func TestEditFromStdin(t *testing.T) {
	f := newFake(t)
	f.on("GET /1.0/networks/lan0", answer{metadata: lan0("true"), etag: "e1"})
	f.on("PUT /1.0/networks/lan0", answer{})
	got := call{socket: f.socket, stdin: strings.NewReader("description: new\nconfig:\n  ipv4.nat: false\n")}.run(t, "network", "edit", "lan0")
	if got != (result{}) {
		t.Errorf("%+v", got)
	}
	want := []string{`PUT /1.0/networks/lan0 if e1 {"config":{"ipv4.nat":"false"},"description":"new"}`}
	if asked := f.requests(); !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
	for text, want := range map[string]string{
		"":               "Error: network lan0 from stdin: it is not a set of \"field: value\" lines\n",
		"descripton: x":  "Error: network lan0 from stdin: unknown field \"descripton\"\n",
		"a: b\n  c: [d]": "Error: network lan0 from stdin: it is not YAML: line 2: mapping values are not allowed in this context\n",
	} {
		if got := (call{socket: f.socket, stdin: strings.NewReader(text)}).run(t, "network", "edit", "lan0"); got != (result{1, "", want}) {
			t.Errorf("%q: %+v, want %q", text, got, want)
		}
	}
	if asked := f.requests(); len(asked) != 1 {
		t.Errorf("bad YAML was sent: %q", asked)
	}
}

// pty opens a terminal: what is written to the first end is typed on the second.
func pty(t *testing.T) (keys, tty *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	if err := unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return keys, tty
}

// editor is a program that does what script says to the file "$1".
func editor(t *testing.T, script string) map[string]string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "editor")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"EDITOR": path}
}

func TestEditor(t *testing.T) {
	f := newFake(t)
	t.Setenv("TMPDIR", t.TempDir())
	f.on("GET /1.0/networks/lan0", answer{metadata: lan0("true"), etag: "e1"})
	f.on("PUT /1.0/networks/lan0", answer{})
	_, tty := pty(t)
	run := func(script string) result {
		return call{socket: f.socket, stdin: tty, env: editor(t, script)}.run(t, "network", "edit", "lan0")
	}
	if got := run("true"); got != (result{}) || len(f.requests()) != 0 {
		t.Errorf("unchanged text: %+v, asked %q", got, f.requests())
	}
	if got := run("exit 3"); got.status != 1 || !strings.HasSuffix(got.err, "exit status 3\n") || len(f.requests()) != 0 {
		t.Errorf("editor that fails: %+v, asked %q", got, f.requests())
	}
	if got := run(`sed -i 's/ipv4.nat: "true"/ipv4.nat: "false"/' "$1"`); got != (result{}) {
		t.Errorf("changed text: %+v", got)
	}
	want := []string{`PUT /1.0/networks/lan0 if e1 {"config":{"ipv4.nat":"false"},"description":""}`}
	if asked := f.requests(); !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*.yaml")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// Who edits what somebody else has changed meanwhile is told what they did, and keeps their own text.
func TestEditStale(t *testing.T) {
	f := newFake(t)
	t.Setenv("TMPDIR", t.TempDir())
	f.on("GET /1.0/networks/lan0", answer{metadata: lan0("true"), etag: "e1"})
	f.on("PUT /1.0/networks/lan0", answer{err: fabric.Errorf(fabric.CodeStale, "stale", "it changed")})
	f.after("PUT /1.0/networks/lan0", func() { f.answers["GET /1.0/networks/lan0"] = answer{metadata: lan0("false"), etag: "e2"} })
	_, tty := pty(t)
	got := call{socket: f.socket, stdin: tty, env: editor(t, `echo "description: mine" >"$1"`)}.run(t, "network", "edit", "lan0")
	m := regexp.MustCompile(`^Error: network lan0 was changed by somebody else while you edited it: config.ipv4.nat is now "false"; your text is kept in (\S+): look at it, then edit again\n$`).FindStringSubmatch(got.err)
	if got.status != 1 || m == nil {
		t.Fatalf("%+v", got)
	}
	if kept, err := os.ReadFile(m[1]); err != nil || string(kept) != "description: mine\n" {
		t.Errorf("kept %q %v", kept, err)
	}
}

// A text that is refused can be edited again, or given up and kept.
func TestEditAgain(t *testing.T) {
	f := newFake(t)
	t.Setenv("TMPDIR", t.TempDir())
	f.on("GET /1.0/networks/lan0", answer{metadata: lan0("true"), etag: "e1"})
	f.on("PUT /1.0/networks/lan0", answer{})
	keys, tty := pty(t)
	io.WriteString(keys, "\n")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	once := `if grep -q oops "$1"; then echo "description: good" >"$1"; else echo "oops: bad" >"$1"; fi`
	got := call{socket: f.socket, stdin: tty, ctx: ctx, env: editor(t, once)}.run(t, "network", "edit", "lan0")
	if got.status != 0 || !strings.Contains(got.err, `network lan0 was not changed: unknown field "oops"`) {
		t.Errorf("%+v", got)
	}
	want := []string{`PUT /1.0/networks/lan0 if e1 {"config":null,"description":"good"}`}
	if asked := f.requests(); !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}

	io.WriteString(keys, "\x04") // end of input
	got = call{socket: f.socket, stdin: tty, ctx: ctx, env: editor(t, `echo "oops: bad" >"$1"`)}.run(t, "network", "edit", "lan0")
	_, file, ok := strings.Cut(strings.TrimSpace(got.err), "kept in ")
	if kept, err := os.ReadFile(file); got.status != 1 || !ok || err != nil || string(kept) != "oops: bad\n" {
		t.Errorf("%+v, kept %q %v", got, kept, err)
	}
}

// Raw mode hands over every key as it is, and is undone.
func TestRaw(t *testing.T) {
	keys, tty := pty(t)
	if terminal(tty) != tty || terminal(strings.NewReader("")) != nil {
		t.Error("a terminal is not told from other streams")
	}
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	restore, err := raw(tty)
	if err != nil {
		t.Fatal(err)
	}
	const typed = "a\x03\x04\r\x1b[A\x00"
	io.WriteString(keys, typed)
	got := make([]byte, len(typed))
	if _, err := io.ReadFull(tty, got); err != nil || string(got) != typed {
		t.Errorf("typed %q, read %q %v", typed, got, err)
	}
	restore()
	if after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS); err != nil || *after != *before {
		t.Errorf("%+v after, %+v before, %v", after, before, err)
	}
	if err := unix.IoctlSetWinsize(int(keys.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 132, Row: 43}); err != nil {
		t.Fatal(err)
	}
	if w, h := terminalSize(tty); w != 132 || h != 43 {
		t.Errorf("size is %dx%d", w, h)
	}
}
