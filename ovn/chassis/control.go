package chassis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cenkalti/rpc2"
	"github.com/cenkalti/rpc2/jsonrpc"
)

// answerBound is how long a daemon may take to answer. ovs-vswitchd does so between rounds of its main loop, which on a big chassis take a second.
const answerBound = 2 * time.Second

// control is a connection to a daemon of Open vSwitch or OVN. It speaks JSON-RPC 1.0, over the socket for ovs-appctl(8) and ovn-appctl(8) as well as over the
// database's (RFC 7047, 4).
type control struct{ client *rpc2.Client }

// dial connects to a socket.
func dial(ctx context.Context, socket string) (*control, error) {
	ctx, cancel := context.WithTimeout(ctx, answerBound)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	c := &control{rpc2.NewClientWithCodec(jsonrpc.NewJSONCodec(conn))}
	go c.client.Run()
	return c, nil
}

// dialDaemon connects to a running daemon that has its PID file and its socket in a directory.
func dialDaemon(ctx context.Context, dir, name string) (*control, error) {
	pid, err := os.ReadFile(filepath.Join(dir, name+".pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNotRunning
	} else if err != nil {
		return nil, err
	}
	c, err := dial(ctx, filepath.Join(dir, fmt.Sprintf("%s.%s.ctl", name, strings.TrimSpace(string(pid)))))
	if errors.Is(err, fs.ErrNotExist) {
		c, err = dial(ctx, filepath.Join(dir, name+".ctl")) // as with --unixctl
	}
	return c, err
}

var errNotRunning = errors.New("is not running")

// gone is closed when the connection ends: the daemon does, most of all.
func (c *control) gone() <-chan struct{} { return c.client.DisconnectNotify() }

func (c *control) close() { c.client.Close() }

// call runs a command.
func (c *control) call(ctx context.Context, command string, reply any, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, answerBound)
	defer cancel()
	if args == nil {
		args = []any{}
	}
	return c.client.CallWithContext(ctx, command, args, reply)
}

// programmed tells whether a bridge has a flow that somebody made: without, it has those in table 254 that ovs-vswitchd hides from others.
func (c *control) programmed(ctx context.Context, bridge string) (bool, error) {
	var flows string
	if err := c.call(ctx, "bridge/dump-flows", &flows, bridge); err != nil {
		return false, err
	}
	for line := range strings.Lines(flows) {
		if strings.TrimSpace(line) != "" && !strings.Contains(line, "table_id=254") {
			return true, nil
		}
	}
	return false, nil
}

// integrationBridge is the name of the bridge that ovn-controller manages: external_ids:ovn-bridge (ovn-controller(8)). A database that can't be asked has none set: it
// is not needed to forward.
func integrationBridge(ctx context.Context, dir string) string {
	const standard = "br-int"
	c, err := dial(ctx, filepath.Join(dir, "db.sock"))
	if err != nil {
		return standard
	}
	defer c.close()
	var reply []struct {
		Rows []struct {
			IDs any `json:"external_ids"`
		} `json:"rows"`
	}
	ask := map[string]any{"op": "select", "table": "Open_vSwitch", "where": []any{}, "columns": []string{"external_ids"}}
	if err := c.call(ctx, "transact", &reply, "Open_vSwitch", ask); err != nil || len(reply) == 0 || len(reply[0].Rows) == 0 {
		return standard
	}
	return cmp.Or(inMap(reply[0].Rows[0].IDs, "ovn-bridge"), standard)
}

// inMap finds a text in a map of the database: ["map", [[key, value], …]] (RFC 7047, 5.1).
func inMap(value any, key string) string {
	tagged, _ := value.([]any)
	if len(tagged) != 2 {
		return ""
	}
	pairs, _ := tagged[1].([]any)
	for _, p := range pairs {
		if pair, _ := p.([]any); len(pair) == 2 && pair[0] == key {
			text, _ := pair[1].(string)
			return text
		}
	}
	return ""
}
