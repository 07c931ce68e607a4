package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Node is one machine of a lab.
type Node struct {
	lab  *Lab
	spec NodeSpec
}

// Name is the node's name in the topology.
func (n *Node) Name() string { return n.spec.Name }

// Role says what the node runs.
func (n *Node) Role() Role { return n.spec.Role }

// Spec is what the topology says about the node.
func (n *Node) Spec() NodeSpec { return n.spec }

// Netns is the name under which ip-netns(8) knows the node's network.
func (n *Node) Netns() string { return netnsName(n.lab.name, n.spec.Name) }

// PID is the node's init process in this machine's numbering, 0 while the node is off.
func (n *Node) PID() int {
	holder, err := n.holder()
	if err != nil {
		return 0
	}
	return holder.PID
}

// Path is where this machine sees the node's file, while the node is on: its sockets can be dialled and its files read.
func (n *Node) Path(path string) (string, error) {
	holder, err := n.holder()
	if err != nil {
		return "", err
	}
	// /run and /etc have symbolic links of their own in the node; absolute ones would leave it, and the lab makes one.
	if rest, ok := strings.CutPrefix(path, "/var/run/"); ok {
		path = "/run/" + rest
	}
	return filepath.Join(fmt.Sprintf("/proc/%d/root", holder.PID), path), nil
}

func (n *Node) holder() (identity, error) {
	s, err := readState(n.lab.name)
	if err != nil {
		return identity{}, err
	}
	if s == nil {
		return identity{}, fmt.Errorf("lab %s is not up", n.lab.name)
	}
	holder := s.Nodes[n.spec.Name].Holder
	if !holder.alive() {
		return identity{}, fmt.Errorf("node %s: %w", n.spec.Name, errNodeOff)
	}
	return holder, nil
}

// interfaces lists the node's ends of cables, in the order of the file.
func (n *Node) interfaces() []string {
	var out []string
	for _, link := range n.lab.topology.Links {
		for _, end := range []Endpoint{link.A, link.B} {
			if end.Node == n.spec.Name {
				out = append(out, end.Interface)
			}
		}
	}
	return out
}

// mtu is the largest of the node's links: what a switch can carry.
func (n *Node) mtu() int {
	mtu := defaultMTU
	for _, link := range n.lab.topology.Links {
		if (link.A.Node == n.spec.Name || link.B.Node == n.spec.Name) && link.MTU > mtu {
			mtu = link.MTU
		}
	}
	return mtu
}

// powerOn makes the node's namespaces; nothing runs in it yet.
func (n *Node) powerOn(ctx context.Context) error {
	cmd, err := startHolder(n.lab.name, n.spec.Name, n.lab.owned)
	if err != nil {
		return err
	}
	pid := cmd.Process.Pid
	holder, err := identify(pid)
	go func() { _ = cmd.Wait() }()
	if err != nil {
		return fmt.Errorf("node %s: its init process ended at once: %w", n.spec.Name, err)
	}
	err = n.lab.update(func(s *state) error {
		s.Nodes[n.spec.Name] = nodeState{Holder: holder}
		return nil
	})
	if err != nil {
		return errors.Join(err, killAndWait(ctx, holder))
	}
	err = inNode(holder, func() error {
		if err := mountNode(n.lab.name, n.spec); err != nil {
			return err
		}
		return writeSysctls(n.spec)
	})
	if err != nil {
		return fmt.Errorf("node %s: %w", n.spec.Name, err)
	}
	// Only a process inside the PID namespace can mount the /proc that shows it.
	if _, err := n.Exec(ctx, "mount", "-t", "proc", "proc", "/proc"); err != nil {
		return err
	}
	return nil
}

// startRole starts what the role or cmd says, then the exec list of the topology.
func (n *Node) startRole(ctx context.Context) error {
	if n.spec.Role == RoleClient || n.spec.Role == RoleFRR {
		// A veth leaves checksums to a network card that is not there; a user-space switch behind it then sees bad ones.
		for _, iface := range n.interfaces() {
			if _, err := n.Exec(ctx, "ethtool", "-K", iface, "tx", "off"); err != nil {
				return err
			}
		}
	}
	list, err := services(n.spec)
	if err != nil {
		return fmt.Errorf("node %s: %w", n.spec.Name, err)
	}
	for _, service := range list {
		if err := n.startService(ctx, service); err != nil {
			return err
		}
	}
	for _, args := range n.spec.Exec {
		if _, err := n.Exec(ctx, args...); err != nil {
			return fmt.Errorf("exec of the topology: %w", err)
		}
	}
	for _, service := range list {
		if _, err := n.Process(service.name); err != nil {
			return fmt.Errorf("node %s: %s has ended:\n%s", n.spec.Name, service.name, n.logTail(service.name))
		}
	}
	return nil
}

// Kill is a power cut: every process of the node stops at once, containers included, its cables go dark, and then the
// processes are killed, so that no peer hears a farewell. Its disk (/etc, /var) stays. Killing a node that is off does
// nothing.
func (n *Node) Kill(ctx context.Context) error {
	holder, err := n.holder()
	if errors.Is(err, errNodeOff) {
		return nil
	}
	if err != nil {
		return err
	}
	processes, err := processesUnder(holder)
	if err != nil {
		return err
	}
	pids := make([]int, len(processes))
	for i, process := range processes {
		pids[i] = process.PID
	}
	cgroups := foreignCgroups(holder.PID, pids)
	// Nothing may run between the first and the last effect: a process that is killed closes its connections, and a peer
	// that still hears it would learn from that what a power cut never tells.
	frozen := freezeCgroup(ctx, n.lab.name, n.spec.Name)
	dark := n.setCables(false)
	dead := killAndWait(ctx, holder)
	err = errors.Join(frozen, dark, dead, killCgroup(ctx, n.lab.name, n.spec.Name))
	removeEmptyCgroups(cgroups)
	if err = errors.Join(err, removeCgroups(n.lab.name, n.spec.Name)); err != nil {
		return fmt.Errorf("node %s: power cut: %w", n.spec.Name, err)
	}
	return nil
}

// setCables darkens the node's cables, or lights those that no test has cut and whose other end has power.
func (n *Node) setCables(on bool) error {
	s, err := readState(n.lab.name)
	if err != nil {
		return err
	}
	for i, link := range n.lab.topology.Links {
		if link.A.Node != n.spec.Name && link.B.Node != n.spec.Name {
			continue
		}
		lit := s != nil && !s.Cut[link.A.String()] && s.Nodes[link.A.Node].Holder.alive() && s.Nodes[link.B.Node].Holder.alive()
		if on && !lit {
			continue
		}
		if err := planWire(n.lab.name, n.lab.topology, i).setCarrier(on); err != nil {
			return err
		}
	}
	return nil
}

// Boot turns a node on after Kill: a new network namespace with the same cables, an empty /run, the same disk, then the
// role's daemons and the exec list as at the first start.
func (n *Node) Boot(ctx context.Context) error {
	if pid := n.PID(); pid != 0 {
		return fmt.Errorf("boot node %s: it is on (init is process %d)", n.spec.Name, pid)
	}
	if err := n.powerOn(ctx); err != nil {
		return err
	}
	name := netnsPath(n.lab.name, n.spec.Name)
	fresh := fmt.Sprintf("/proc/%d/ns/net", n.PID())
	if err := moveInterfaces(name, fresh, n.interfaces()); err != nil {
		return fmt.Errorf("boot node %s: %w", n.spec.Name, err)
	}
	if err := removeNetns(name); err != nil {
		return fmt.Errorf("boot node %s: %w", n.spec.Name, err)
	}
	if err := nameNetns(fresh, name); err != nil {
		return fmt.Errorf("boot node %s: %w", n.spec.Name, err)
	}
	if err := setUpNetwork(n.lab.name, n.spec, n.interfaces(), n.mtu()); err != nil {
		return fmt.Errorf("boot node %s: %w", n.spec.Name, err)
	}
	if err := n.setCables(true); err != nil {
		return fmt.Errorf("boot node %s: %w", n.spec.Name, err)
	}
	return n.startRole(ctx)
}

func (n *Node) logDir() string { return filepath.Join(diskDir(n.lab.name, n.spec.Name), "log") }

// LogPath is the file that has the output of a daemon or of what Start started under that name.
func (n *Node) LogPath(name string) string { return filepath.Join(n.logDir(), name+".log") }

func (n *Node) openLog(name string) (*os.File, error) {
	if err := checkName("process name", name); err != nil {
		return nil, fmt.Errorf("node %s: %w", n.spec.Name, err)
	}
	if err := os.MkdirAll(n.logDir(), 0o755); err != nil {
		return nil, fmt.Errorf("node %s: log of %s: %w", n.spec.Name, name, err)
	}
	file, err := os.OpenFile(n.LogPath(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("node %s: log of %s: %w", n.spec.Name, name, err)
	}
	return file, nil
}

func (n *Node) logTail(name string) string {
	data, err := os.ReadFile(n.LogPath(name))
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-30):], []byte("\n")))
}
