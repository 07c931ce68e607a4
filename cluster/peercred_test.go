package cluster

import (
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

const dialEnv = "CLUSTER_TEST_DIAL" // socket that the process started with it is to talk to

// TestSocketIsOursOnly checks what the engine relies on: the database's own socket, which any local user can reach, answers this process only.
func TestSocketIsOursOnly(t *testing.T) {
	if socket := os.Getenv(dialEnv); socket != "" {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return
		}
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if talk(c) {
			t.Error("the database answers another process")
		}
		return
	}
	m := startCluster(t, 1)[0]
	c, err := net.Dial("unix", m.engine.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !talk(c) {
		t.Fatal("the database does not answer this process: the test proves nothing")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSocketIsOursOnly$")
	cmd.Env = append(os.Environ(), dialEnv+"="+m.engine.socket)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// talk asks a node who leads (protocol version 1, request 0 without a body) and tells whether it answers.
func talk(c net.Conn) bool {
	hello := []byte{1, 0, 0, 0, 0, 0, 0, 0}
	leader := []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // one word, type 0, schema 0; the word
	if _, err := c.Write(append(hello, leader...)); err != nil {
		return false
	}
	n, _ := c.Read(make([]byte, 1))
	return n == 1
}
