package bgptest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BIRD is a router that puts what it is told into its kernel at once: what is measured at it is the sender.
type BIRD struct {
	t       testing.TB
	Node    *Node
	config  string // its file
	control string
}

// birdKernel is what every BIRD has: routes of its peers go into the main table.
const birdKernel = `
protocol device {}
protocol kernel { scan time 3600; ipv4 { import none; export where source = RTS_BGP; }; merge paths on; }
protocol kernel { scan time 3600; ipv6 { import none; export where source = RTS_BGP; }; merge paths on; }
`

// StartBIRD makes a host a router with the given protocols beside those for its kernel. It serves when the function returns.
func StartBIRD(t testing.TB, n *Node, config string) *BIRD {
	t.Helper()
	dir := t.TempDir()
	b := &BIRD{t, n, filepath.Join(dir, "bird.conf"), filepath.Join(dir, "bird.ctl")}
	b.write(config)
	n.Start("bird", "-f", "-c", b.config, "-s", b.control, "-P", filepath.Join(dir, "bird.pid"))
	Eventually(t, 10*time.Second, func() string {
		if out, err := b.ask("show", "status"); err != nil {
			return out + err.Error()
		}
		return ""
	})
	return b
}

func (b *BIRD) write(config string) {
	b.t.Helper()
	if err := os.WriteFile(b.config, []byte(config+birdKernel), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// Configure replaces the configuration. Sessions whose part of it did not change stay.
func (b *BIRD) Configure(config string) {
	b.t.Helper()
	b.write(config)
	if out := b.Ask("configure"); !strings.Contains(out, "Reconfigured") && !strings.Contains(out, "Reconfiguration in progress") {
		b.t.Fatalf("birdc configure: %s", out)
	}
}

// BIRDSession is what BIRD says of the BGP session of a protocol.
type BIRDSession struct {
	State     string // such as Established
	LastError string
	Imported  int // routes of the peer that BIRD has, of all families
}

var birdImported = regexp.MustCompile(`Routes: +(\d+) imported`)

// Session finds the session of a protocol by its name.
func (b *BIRD) Session(protocol string) BIRDSession {
	b.t.Helper()
	text := b.Ask("show", "protocols", "all", protocol)
	var s BIRDSession
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch value = strings.TrimSpace(value); key {
		case "BGP state":
			s.State = value
		case "Last error":
			s.LastError = value
		}
	}
	for _, m := range birdImported.FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(m[1]) // digits
		s.Imported += n
	}
	return s
}

// Ask gives BIRD a command and returns what it says.
func (b *BIRD) Ask(words ...string) string {
	b.t.Helper()
	out, err := b.ask(words...)
	if err != nil {
		b.t.Fatalf("birdc %q: %v\n%s", words, err, out)
	}
	return out
}

func (b *BIRD) ask(words ...string) (string, error) {
	out, err := exec.Command("birdc", append([]string{"-s", b.control}, words...)...).CombinedOutput()
	return string(out), err
}
