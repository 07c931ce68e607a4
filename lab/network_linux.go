package lab

import (
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A cable between a switch and a node is one veth pair. A cable between two nodes is two, joined by a bridge in the lab's
// wire namespace: a veth end loses carrier only when the other end is set down, which would take the addresses of the
// node that has it, so a cable that can be cut needs ends in neither node.
const wireNode = ".wires" // no node's name can begin with a dot

type netnsHandle struct {
	*netlink.Handle
	file *os.File
}

func openNetns(path string) (*netnsHandle, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	var handle *netlink.Handle
	// The package enters the namespace to make its socket there: give it a thread that nothing else needs.
	err = onOwnThread(func() error {
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	return &netnsHandle{Handle: handle, file: file}, nil
}

func (h *netnsHandle) Close() {
	h.Handle.Close()
	h.file.Close()
}

func (h *netnsHandle) setUp(name string, up bool) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	if up {
		err = h.LinkSetUp(link)
	} else {
		err = h.LinkSetDown(link)
	}
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	return nil
}

func linkAttrs(name string, mtu int) netlink.LinkAttrs {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, mtu
	return attrs
}

func (h *netnsHandle) addBridge(name string, mtu int, forwardLLDP bool) (netlink.Link, error) {
	snooping := false
	bridge := &netlink.Bridge{LinkAttrs: linkAttrs(name, mtu), MulticastSnooping: &snooping}
	if forwardLLDP {
		mask := uint16(0xfff8) // all link-local groups but the three that the kernel keeps (IEEE 802.1D table 7-10)
		bridge.GroupFwdMask = &mask
	}
	if err := h.LinkAdd(bridge); err != nil {
		return nil, fmt.Errorf("add bridge %s: %w", name, err)
	}
	if err := h.LinkSetUp(bridge); err != nil {
		return nil, fmt.Errorf("add bridge %s: %w", name, err)
	}
	return bridge, nil
}

// addVeth makes a pair with one end here and the other in peer. Both ends are born where they belong.
func (h *netnsHandle) addVeth(name string, peer *netnsHandle, peerName string, mtu int) error {
	veth := &netlink.Veth{
		LinkAttrs:     linkAttrs(name, mtu),
		PeerName:      peerName,
		PeerTxQLen:    -1,
		PeerMTU:       uint32(mtu),
		PeerNamespace: netlink.NsFd(peer.file.Fd()),
	}
	if err := h.LinkAdd(veth); err != nil {
		return fmt.Errorf("add veth %s to %s: %w", name, peerName, err)
	}
	return nil
}

func (h *netnsHandle) enslave(name string, bridge netlink.Link) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	if err := h.LinkSetMaster(link, bridge); err != nil {
		return fmt.Errorf("put %s into bridge %s: %w", name, bridge.Attrs().Name, err)
	}
	return h.setUp(name, true)
}

// wire is how a link is built: the interfaces whose carrier goes when the others are set down.
type wire struct {
	spec  LinkSpec
	index int // in the topology, from 0
	far   []wireEnd
}

type wireEnd struct {
	netns, iface string
}

// planWire says where the middle of a link is.
func planWire(lab string, t *Topology, index int) wire {
	w := wire{spec: t.Links[index], index: index}
	for _, end := range []Endpoint{w.spec.A, w.spec.B} {
		if node, _ := t.Node(end.Node); node.Role == RoleSwitch {
			w.far = []wireEnd{{netnsPath(lab, end.Node), end.Interface}}
			return w
		}
	}
	hidden := netnsPath(lab, wireNode)
	w.far = []wireEnd{{hidden, fmt.Sprintf("w%da", index)}, {hidden, fmt.Sprintf("w%db", index)}}
	return w
}

func (w wire) direct() bool { return len(w.far) == 1 }

// build makes the interfaces of the link, down.
func (w wire) build(lab string) error {
	a, err := openNetns(netnsPath(lab, w.spec.A.Node))
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := openNetns(netnsPath(lab, w.spec.B.Node))
	if err != nil {
		return err
	}
	defer b.Close()
	if w.direct() {
		return a.addVeth(w.spec.A.Interface, b, w.spec.B.Interface, w.spec.MTU)
	}
	middle, err := openNetns(netnsPath(lab, wireNode))
	if err != nil {
		return err
	}
	defer middle.Close()
	bridge, err := middle.addBridge(fmt.Sprintf("w%d", w.index), w.spec.MTU, true)
	if err != nil {
		return err
	}
	for i, end := range []struct {
		netns *netnsHandle
		iface string
	}{{a, w.spec.A.Interface}, {b, w.spec.B.Interface}} {
		if err := end.netns.addVeth(end.iface, middle, w.far[i].iface, w.spec.MTU); err != nil {
			return err
		}
		if err := middle.enslave(w.far[i].iface, bridge); err != nil {
			return err
		}
	}
	return nil
}

// setCarrier cuts or restores the cable: every node at it sees NO-CARRIER, with its interface and addresses as they were.
func (w wire) setCarrier(on bool) error {
	for _, end := range w.far {
		if err := setInterface(end.netns, end.iface, on); err != nil {
			return err
		}
	}
	return nil
}

func setInterface(netns, iface string, up bool) error {
	h, err := openNetns(netns)
	if err != nil {
		return err
	}
	defer h.Close()
	return h.setUp(iface, up)
}

// setUpNetwork brings the node's loopback and cables up; a switch gets its bridge.
func setUpNetwork(lab string, node NodeSpec, interfaces []string, mtu int) error {
	h, err := openNetns(netnsPath(lab, node.Name))
	if err != nil {
		return err
	}
	defer h.Close()
	if err := h.setUp("lo", true); err != nil {
		return err
	}
	var bridge netlink.Link
	if node.Role == RoleSwitch {
		if bridge, err = h.addBridge("br0", mtu, false); err != nil {
			return err
		}
	}
	for _, iface := range interfaces {
		if bridge != nil {
			err = h.enslave(iface, bridge)
		} else {
			err = h.setUp(iface, true)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// moveInterfaces takes cables from one namespace to another; the kernel drops their addresses on the way.
func moveInterfaces(from, to string, interfaces []string) error {
	old, err := openNetns(from)
	if err != nil {
		return err
	}
	defer old.Close()
	target, err := os.Open(to)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer target.Close()
	if err := removeSoftware(old, interfaces); err != nil {
		return err
	}
	for _, iface := range interfaces {
		link, err := old.LinkByName(iface)
		if err != nil {
			return fmt.Errorf("interface %s: %w", iface, err)
		}
		if err := old.LinkSetNsFd(link, int(target.Fd())); err != nil {
			return fmt.Errorf("move interface %s: %w", iface, err)
		}
	}
	return nil
}

// removeSoftware removes the interfaces that are no cables, while the cables are dark: what a host had made of them does not outlive its power,
// and must not be heard on the wire when they are lit again.
func removeSoftware(netns *netnsHandle, cables []string) error {
	links, err := netns.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, link := range links {
		if a := link.Attrs(); a.Flags&net.FlagLoopback != 0 || slices.Contains(cables, a.Name) {
			continue
		}
		// Some go with another, and those that the kernel makes by itself can't be removed.
		err := netns.LinkDel(link)
		if err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("remove interface %s: %w", link.Attrs().Name, err)
		}
	}
	return nil
}

// writeSysctls runs in the node's network namespace.
func writeSysctls(node NodeSpec) error {
	values := roleSysctls(node.Role)
	values["net.ipv4.fib_multipath_hash_seed"] = hashSeed(node.Name)
	maps.Copy(values, node.Sysctls)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		path := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
		err := os.WriteFile(path, []byte(values[key]), 0o644)
		if _, asked := node.Sysctls[key]; errors.Is(err, os.ErrNotExist) && !asked {
			continue // this kernel has no such behaviour to turn off
		}
		if err != nil {
			return fmt.Errorf("set sysctl %s to %q: %w", key, values[key], err)
		}
	}
	return nil
}

// hashSeed is a seed of the node's own for spreading flows. Hosts have one each; nodes share the kernel's, and of two routers in a row the second
// would see only the flows that hash as the first has chosen, and send all of them one way.
func hashSeed(node string) string {
	h := fnv.New32a()
	h.Write([]byte(node))
	return strconv.FormatUint(uint64(max(1, h.Sum32())), 10) // 0 is the kernel's
}

func roleSysctls(role Role) map[string]string {
	values := map[string]string{
		// Duplicate address detection makes an address unusable for a second; here nobody else has it.
		"net.ipv6.conf.all.accept_dad":     "0",
		"net.ipv6.conf.default.accept_dad": "0",
		"net.ipv6.conf.all.disable_ipv6":   "0",
		// With several routers an answer may come another way than the question went.
		"net.ipv4.conf.all.rp_filter":     "0",
		"net.ipv4.conf.default.rp_filter": "0",
		// Spread flows, not hosts, and not to a next hop that does not answer. Flows are told apart by addresses, protocol and ports as they are in the
		// packet (3, with these fields): with 1, all nodes would take the hash that the socket of the sender has given the packet.
		"net.ipv4.fib_multipath_hash_policy": "3",
		"net.ipv4.fib_multipath_hash_fields": "55",
		"net.ipv6.fib_multipath_hash_policy": "3",
		"net.ipv6.fib_multipath_hash_fields": "55",
		"net.ipv4.fib_multipath_use_neigh":   "1",
	}
	if role.forwards() {
		values["net.ipv4.ip_forward"] = "1"
		values["net.ipv6.conf.all.forwarding"] = "1"
	}
	if role == RoleSwitch {
		values["net.ipv6.conf.all.disable_ipv6"] = "1" // a switch does not speak
		values["net.ipv6.conf.default.disable_ipv6"] = "1"
	}
	return values
}

// addresses lists the global addresses of a namespace as "eth1 192.0.2.1/24".
func addresses(netns string) ([]string, error) {
	h, err := openNetns(netns)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces of %s: %w", netns, err)
	}
	var out []string
	for _, link := range links {
		addrs, err := h.AddrList(link, unix.AF_UNSPEC)
		if err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", netns, err)
		}
		for _, addr := range addrs {
			if addr.Scope == unix.RT_SCOPE_UNIVERSE {
				out = append(out, link.Attrs().Name+" "+addr.IPNet.String())
			}
		}
	}
	return out, nil
}
