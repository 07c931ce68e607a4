package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// service is a daemon that a node's role or cmd starts.
type service struct {
	name string
	argv []string
	// ready is a path in the node that exists once the daemon serves; empty when there is nothing to wait for.
	ready string
	// after is run in the node when the daemon is ready.
	after []string
	// prompt daemons miss deadlines of milliseconds when they wait for a processor: they get real-time priority where that is allowed.
	prompt bool
}

// services decides what a node runs.
func services(node NodeSpec) ([]service, error) {
	if len(node.Cmd) > 0 {
		return []service{{name: filepath.Base(node.Cmd[0]), argv: node.Cmd}}, nil
	}
	switch node.Role {
	case RoleFRR:
		return frrServices(node)
	case RoleFabric:
		return []service{{name: "fabric-node", argv: []string{"fabric-node"}}}, nil
	case RoleBIRD:
		return []service{{
			name:  "bird",
			argv:  []string{"bird", "-f", "-c", "/etc/bird/bird.conf", "-s", "/run/bird/bird.ctl"},
			ready: "/run/bird/bird.ctl",
		}}, nil
	case RoleExaBGP:
		return []service{{name: "exabgp", argv: []string{"exabgp", "/etc/exabgp/exabgp.conf"}}}, nil
	case RoleKeepalived:
		return []service{{
			name: "keepalived",
			argv: []string{"keepalived", "--dont-fork", "--log-console", "--log-detail", "--use-file", "/etc/keepalived/keepalived.conf"},
		}}, nil
	}
	return nil, nil
}

// exabgpEnv has exabgp stay root, log to its output, and make no named pipes for its command line.
var exabgpEnv = map[string]string{
	"exabgp_daemon_user": "root", "exabgp_daemon_drop": "false", "exabgp_daemon_daemonize": "false", "exabgp_log_destination": "stdout", "exabgp_api_cli": "false",
}

const frrLib = "/usr/lib/frr"

// frrServices starts what FRR's own start script would: zebra and staticd always, others as /etc/frr/daemons says
// (without that file, bgpd). Each daemon then gets its part of /etc/frr/frr.conf through vtysh.
func frrServices(node NodeSpec) ([]service, error) {
	enabled := []string{"bgpd"}
	options := map[string]string{"zebra": "-A 127.0.0.1 -s 90000000"}
	if path := boundFile(node, "/etc/frr/daemons"); path != "" {
		var err error
		if enabled, err = readFRRDaemons(path, options); err != nil {
			return nil, err
		}
	}
	var out []service
	for _, daemon := range append([]string{"zebra", "staticd"}, enabled...) {
		words, err := splitWords(options[daemon])
		if err != nil {
			return nil, fmt.Errorf("%s_options in /etc/frr/daemons: %w", daemon, err)
		}
		if len(words) == 0 {
			words = []string{"-A", "127.0.0.1"}
		}
		out = append(out, service{
			name:   daemon,
			argv:   append([]string{filepath.Join(frrLib, daemon), "--log", "stdout"}, words...),
			ready:  "/run/frr/" + daemon + ".vty",
			after:  []string{"vtysh", "-b", "-d", daemon},
			prompt: daemon == "bfdd",
		})
	}
	return out, nil
}

// boundFile is the file of this machine that the node sees at path, if a bind puts one there.
func boundFile(node NodeSpec, path string) string {
	for _, bind := range node.Binds {
		if rest, ok := strings.CutPrefix(path, bind.Destination); ok && (rest == "" || rest[0] == '/') {
			return filepath.Join(bind.Source, rest)
		}
	}
	return ""
}

// readFRRDaemons reads the shell assignments of FRR's daemons file.
func readFRRDaemons(path string, options map[string]string) (enabled []string, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return []string{"bgpd"}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read FRR daemons file: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		key, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		value = strings.Trim(value, `"'`)
		if daemon, ok := strings.CutSuffix(key, "_options"); ok {
			options[daemon] = value
		} else if value == "yes" && key != "zebra" && key != "staticd" && strings.HasSuffix(key, "d") {
			enabled = append(enabled, key)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read FRR daemons file %s: %w", path, err)
	}
	return enabled, nil
}

const (
	readyBound  = 15 * time.Second
	settleBound = 150 * time.Millisecond
)

// realtime is the beginning of a command that is to have real-time priority (chrt(1)).
var realtime = []string{"chrt", "--rr", "20"}

// realtimeAllowed tells whether this program may give real-time priority.
var realtimeAllowed = sync.OnceValue(func() bool { return exec.Command(realtime[0], append(realtime[1:], "true")...).Run() == nil })

// startService returns when the daemon serves, or, where nothing tells, when it has lived for a moment.
func (n *Node) startService(ctx context.Context, s service) error {
	argv := s.argv
	if s.prompt && realtimeAllowed() {
		argv = append(slices.Clone(realtime), argv...)
	}
	process, err := n.Start(s.name, argv...)
	if err != nil {
		return err
	}
	if s.ready == "" {
		settle, cancel := context.WithTimeout(ctx, settleBound)
		defer cancel()
		if process.Wait(settle) == nil {
			return fmt.Errorf("node %s: %s ended at once:\n%s", n.spec.Name, s.name, n.logTail(s.name))
		}
	}
	if s.ready != "" {
		path, err := n.Path(s.ready)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeoutCause(ctx, readyBound, fmt.Errorf("not within %s", readyBound))
		defer cancel()
		died := false
		err = pollLevel(ctx, func() bool {
			if died = !process.Alive(); died {
				return true
			}
			_, err := os.Stat(path)
			return err == nil
		})
		if died {
			return fmt.Errorf("node %s: %s ended at once:\n%s", n.spec.Name, s.name, n.logTail(s.name))
		}
		if err != nil {
			return fmt.Errorf("node %s: %s does not serve %s: %w\n%s", n.spec.Name, s.name, s.ready, err, n.logTail(s.name))
		}
	}
	if len(s.after) > 0 {
		if _, err := n.Exec(ctx, s.after...); err != nil {
			return err
		}
	}
	return nil
}

// StartDaemon starts a daemon of the node's role again, after StopDaemon or a crash, and returns when it serves.
func (n *Node) StartDaemon(ctx context.Context, name string) error {
	list, err := services(n.spec)
	if err != nil {
		return fmt.Errorf("node %s: %w", n.spec.Name, err)
	}
	var names []string
	for _, s := range list {
		if s.name == name {
			if running, err := n.started(name); err != nil {
				return err
			} else if running.alive() {
				return fmt.Errorf("node %s: %s already runs as process %d", n.spec.Name, name, running.PID)
			}
			// What a killed daemon left would pass for a serving one.
			if path, err := n.Path(s.ready); err == nil && s.ready != "" {
				_ = os.Remove(path)
			}
			return n.startService(ctx, s)
		}
		names = append(names, s.name)
	}
	return fmt.Errorf("node %s has no daemon %q; it has %s", n.spec.Name, name, strings.Join(names, ", "))
}

// StopDaemon asks a daemon to end with SIGTERM and returns when it has; when ctx ends first it is killed.
func (n *Node) StopDaemon(ctx context.Context, name string) error {
	process, err := n.Process(name)
	if err != nil {
		return err
	}
	return process.Stop(ctx)
}
