package bridge

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// kernel is a connection to the kernel's links and addresses.
type kernel struct{ h *netlink.Handle }

func openKernel() (*kernel, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	if err := h.SetSocketTimeout(5 * time.Second); err != nil {
		h.Close()
		return nil, fmt.Errorf("set up a netlink socket: %w", err)
	}
	return &kernel{h}, nil
}

func (k *kernel) close() { k.h.Close() }

// ensureBridge makes one network's bridge as planned. there tells whether NICs can be plugged in, even if something else about it is wrong.
func (k *kernel) ensureBridge(p bridgePlan) (there bool, err error) {
	link, err := k.h.LinkByName(p.name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		link, err = k.create(p)
	}
	if err != nil {
		return false, wrap(p.name, "look for its bridge", err)
	}
	attrs := link.Attrs()
	if attrs.Alias != aliasPrefix+p.name {
		// A crash between making a bridge and marking it leaves one without alias, but with a MAC that nobody else would choose.
		if link.Type() != "bridge" || attrs.Alias != "" || attrs.HardwareAddr.String() != p.mac.String() {
			return false, foreignInterface(p.name)
		}
		if err := k.mark(link, p); err != nil {
			return false, err
		}
	}
	if attrs.HardwareAddr.String() != p.mac.String() {
		if err := k.h.LinkSetHardwareAddr(link, p.mac); err != nil {
			return false, wrap(p.name, "set the MAC of its bridge", err)
		}
	}
	if attrs.MTU != p.mtu {
		if err := k.h.LinkSetMTU(link, p.mtu); err != nil {
			return false, wrap(p.name, fmt.Sprintf("set MTU %d", p.mtu), err)
		}
	}
	if err := ensureBridgeSysctls(p.name); err != nil {
		return false, wrap(p.name, "set up its bridge", err)
	}
	if attrs.Flags&net.FlagUp == 0 {
		if err := k.h.LinkSetUp(link); err != nil {
			return false, wrap(p.name, "bring its bridge up", err)
		}
	}
	if err := k.ensureAddresses(link, p); err != nil {
		return false, err
	}
	if err := k.ensureProxies(link, p); err != nil {
		return true, err
	}
	return true, k.ensureExternal(link, p)
}

func (k *kernel) create(p bridgePlan) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = p.name, p.mtu, p.mac
	if err := k.h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return nil, fmt.Errorf("make a bridge: %w", err)
	}
	return k.h.LinkByName(p.name)
}

// mark finishes a new bridge. The alias comes last: it says that the bridge is complete.
func (k *kernel) mark(link netlink.Link, p bridgePlan) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(link.Attrs().Index)
	req.AddData(msg)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(nl.IFLA_BR_FORWARD_DELAY, nl.Uint32Attr(0))
	data.AddRtAttr(nl.IFLA_BR_STP_STATE, nl.Uint32Attr(0))
	req.AddData(info)
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return wrap(p.name, "set up its bridge", err)
	}
	return wrap(p.name, "mark its bridge as ours", k.h.LinkSetAlias(link, aliasPrefix+p.name))
}

func (k *kernel) ensureAddresses(link netlink.Link, p bridgePlan) error {
	have, err := k.addresses(link)
	if err != nil {
		return wrap(p.name, "list the addresses of its bridge", err)
	}
	add, remove := addressDiff(have, p.gateways)
	if err := k.addGateways(link, p.name, add); err != nil {
		return err
	}
	if len(remove) == 0 {
		return nil
	}
	for _, a := range remove {
		if err := k.h.AddrDel(link, &netlink.Addr{IPNet: ipNet(a)}); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return wrap(p.name, fmt.Sprintf("remove address %s", a), err)
		}
	}
	// The kernel takes the other IPv4 addresses of a subnet away together with the first one.
	return k.addGateways(link, p.name, p.gateways)
}

func (k *kernel) addGateways(link netlink.Link, network string, addresses []netip.Prefix) error {
	for _, a := range addresses {
		if err := k.h.AddrReplace(link, &netlink.Addr{IPNet: ipNet(a), Flags: unix.IFA_F_NODAD}); err != nil {
			return wrap(network, fmt.Sprintf("add gateway address %s", a), err)
		}
	}
	return nil
}

func (k *kernel) addresses(link netlink.Link) ([]netip.Prefix, error) {
	list, err := k.h.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	var all []netip.Prefix
	for _, a := range list {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok {
			continue
		}
		bits, _ := a.Mask.Size()
		all = append(all, netip.PrefixFrom(ip.Unmap(), bits))
	}
	return all, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// ensureExternal makes the member's external interfaces ports of the bridge, and lets those go that were made ports here and are not wanted now.
func (k *kernel) ensureExternal(bridge netlink.Link, p bridgePlan) error {
	links, err := k.h.LinkList()
	if err != nil {
		return wrap(p.name, "list interfaces", err)
	}
	mark := externalPrefix + p.name
	var errs []error
	for _, link := range links {
		if a := link.Attrs(); a.Alias == mark && !slices.Contains(p.external, a.Name) {
			if a.MasterIndex == bridge.Attrs().Index {
				errs = append(errs, wrap(p.name, "let go of "+a.Name, k.h.LinkSetNoMaster(link)))
			}
			errs = append(errs, wrap(p.name, "unmark "+a.Name, k.h.LinkSetAlias(link, "")))
		}
	}
	for _, name := range p.external {
		errs = append(errs, k.ensurePort(bridge, p, name, links))
	}
	return errors.Join(errs...)
}

func (k *kernel) ensurePort(bridge netlink.Link, p bridgePlan, name string, links []netlink.Link) error {
	at := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Name == name })
	if at < 0 {
		return externalError(p.name, name, "is not there").WithFix("set bridge.external_interfaces for this member to interfaces that it has")
	}
	link := links[at]
	a := link.Attrs()
	mark := externalPrefix + p.name
	switch {
	case a.MasterIndex == bridge.Attrs().Index && a.Flags&net.FlagUp != 0:
		return nil
	case a.MasterIndex != 0 && a.MasterIndex != bridge.Attrs().Index:
		return externalError(p.name, name, "belongs to another bridge or bond")
	}
	have, err := k.addresses(link)
	if err != nil {
		return wrap(p.name, "list the addresses of "+name, err)
	}
	for _, address := range have {
		if !address.Addr().IsLinkLocalUnicast() {
			return externalError(p.name, name, fmt.Sprintf("has address %s, which would stop working", address)).WithFix("use an interface without addresses")
		}
	}
	if a.Alias == "" {
		if err := k.h.LinkSetAlias(link, mark); err != nil {
			return wrap(p.name, "mark "+name, err)
		}
	}
	if err := k.h.LinkSetMaster(link, bridge); err != nil {
		return wrap(p.name, "make "+name+" a port", err)
	}
	return wrap(p.name, "bring "+name+" up", k.h.LinkSetUp(link))
}

// ours lists the networks whose bridges carry our mark.
func (k *kernel) ours() ([]string, error) {
	links, err := k.h.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var names []string
	for _, l := range links {
		if l.Type() == "bridge" && l.Attrs().Alias == aliasPrefix+l.Attrs().Name {
			names = append(names, l.Attrs().Name)
		}
	}
	return names, nil
}

// remove deletes a bridge that carries our mark, after letting go of the member's own interfaces.
func (k *kernel) remove(network string) error {
	link, err := k.h.LinkByName(network)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return wrap(network, "look for its bridge", err)
	}
	if err := k.ensureExternal(link, bridgePlan{name: network}); err != nil {
		return err
	}
	return wrap(network, "remove its bridge", k.h.LinkDel(link))
}

// watch starts waking the module on changes of our bridges and their addresses.
func (m *Module) watch() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watched {
		return nil
	}
	done := make(chan struct{})
	links, addresses := make(chan netlink.LinkUpdate, 64), make(chan netlink.AddrUpdate, 64)
	failed := func(err error) { m.log.Warn("netlink subscription ended; subscribing again", "error", err) }
	if err := netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ErrorCallback: failed}); err != nil {
		close(done)
		return fmt.Errorf("subscribe to links: %w", err)
	}
	if err := netlink.AddrSubscribeWithOptions(addresses, done, netlink.AddrSubscribeOptions{ErrorCallback: failed}); err != nil {
		close(done)
		return fmt.Errorf("subscribe to addresses: %w", err)
	}
	m.watched = true
	go m.follow(links, addresses, done)
	return nil
}

// follow wakes the module until a subscription ends; the next Reconcile then starts a new one.
func (m *Module) follow(links <-chan netlink.LinkUpdate, addresses <-chan netlink.AddrUpdate, done chan<- struct{}) {
	bridges := map[int]bool{}
	for {
		relevant := true // an ended subscription has missed something
		ended := false
		select {
		case u, ok := <-links:
			if ended = !ok; ok {
				relevant = strings.HasPrefix(u.Attrs().Alias, "fabric ") || bridges[u.Attrs().Index]
				if relevant {
					bridges[u.Attrs().Index] = true
				}
				if u.Header.Type == unix.RTM_DELLINK {
					delete(bridges, u.Attrs().Index)
				}
			}
		case u, ok := <-addresses:
			if ended = !ok; ok {
				relevant = !u.NewAddr || bridges[u.LinkIndex]
			}
		}
		if ended {
			m.mu.Lock()
			m.watched = false
			m.mu.Unlock()
			close(done)
		}
		if relevant {
			select {
			case m.wake <- struct{}{}:
			default:
			}
		}
		if ended {
			return
		}
	}
}
