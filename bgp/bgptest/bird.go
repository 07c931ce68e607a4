package bgptest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// BIRD is a router that puts what it is told into its kernel at once: what is measured at it is the sender.
type BIRD struct {
	t       testing.TB
	Node    *Node
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
	file := filepath.Join(dir, "bird.conf")
	if err := os.WriteFile(file, []byte(config+birdKernel), 0o600); err != nil {
		t.Fatal(err)
	}
	b := &BIRD{t, n, filepath.Join(dir, "bird.ctl")}
	n.Start("bird", "-f", "-c", file, "-s", b.control, "-P", filepath.Join(dir, "bird.pid"))
	Eventually(t, 10*time.Second, func() string {
		if out, err := b.ask("show", "status"); err != nil {
			return out + err.Error()
		}
		return ""
	})
	return b
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
