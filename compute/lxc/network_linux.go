package lxc

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"netfabric/compute"
	"netfabric/fabric"
)

// applyNetwork gives a container's network namespace the addresses and routes of next, and takes away those of last that are not among them.
// What the guest has set itself stays.
func applyNetwork(p fabric.Process, last, next compute.Network) error {
	file, err := os.Open(filepath.Join("/proc", strconv.Itoa(p.PID), "ns/net"))
	if err != nil {
		return fmt.Errorf("open the container's network: %w", err)
	}
	defer file.Close()
	if !alive(p) { // after opening: the pid may have gone to somebody else
		return os.ErrProcessDone
	}
	h, err := netlink.NewHandleAt(netns.NsHandle(file.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("enter the container's network: %w", err)
	}
	defer h.Close()
	if err := h.SetSocketTimeout(5 * time.Second); err != nil {
		return err
	}
	if err := applyLink(h, "lo", last.Loopback, next.Loopback); err != nil {
		return err
	}
	for _, nic := range next.NICs {
		old := compute.NIC{}
		if i := slices.IndexFunc(last.NICs, func(o compute.NIC) bool { return o.Inside == nic.Inside }); i >= 0 {
			old = last.NICs[i]
		}
		if err := settleLinkLocal(h, nic.Inside); err != nil {
			return err
		}
		if err := applyLink(h, nic.Inside, old.Addresses, nic.Addresses); err != nil {
			return err
		}
		if err := applyGateways(h, nic.Inside, old.Gateways, nic.Gateways); err != nil {
			return err
		}
	}
	return nil
}

// plugIn makes the member's end of each NIC a port of its bridge.
func plugIn(n compute.Network) error {
	for _, nic := range n.NICs {
		bridge, err := netlink.LinkByName(nic.Bridge)
		if err != nil {
			return fmt.Errorf("look for bridge %s: %w", nic.Bridge, err)
		}
		link, err := netlink.LinkByName(nic.Link)
		if err != nil {
			return fmt.Errorf("look for %s, the member's end of %s: %w", nic.Link, nic.Inside, err)
		}
		if err := netlink.LinkSetMaster(link, bridge); err != nil {
			return fmt.Errorf("plug %s into bridge %s: %w", nic.Link, nic.Bridge, err)
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("bring %s up: %w", nic.Link, err)
		}
	}
	return nil
}

func applyLink(h *netlink.Handle, name string, last, next []netip.Prefix) error {
	link, err := h.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil // the guest has renamed it, or was started without it
	}
	if err != nil {
		return fmt.Errorf("look for %s in the container: %w", name, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring %s up in the container: %w", name, err)
	}
	if err := addAddresses(h, link, next); err != nil {
		return err
	}
	for _, p := range last {
		if slices.Contains(next, p) {
			continue
		}
		if err := h.AddrDel(link, &netlink.Addr{IPNet: ipNet(p)}); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove %s from %s in the container: %w", p, name, err)
		}
	}
	// The kernel takes the other IPv4 addresses of a subnet away together with the first one.
	return addAddresses(h, link, next)
}

// settleLinkLocal gives a NIC its link-local address without duplicate address detection. The kernel asks for its neighbours, the gateway
// among them, from that address: until the detection is over, more than a second, no IPv6 packet would leave the container.
func settleLinkLocal(h *netlink.Handle, name string) error {
	link, err := h.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil // as in applyLink
	}
	if err != nil {
		return fmt.Errorf("look for %s in the container: %w", name, err)
	}
	addresses, err := h.AddrList(link, netlink.FAMILY_V6)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the addresses of %s in the container: %w", name, err)
	}
	for _, a := range addresses {
		if !a.IP.IsLinkLocalUnicast() {
			continue
		}
		if a.Flags&unix.IFA_F_TENTATIVE == 0 {
			return nil
		}
		if err := h.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove %s from %s in the container: %w", a.IPNet, name, err)
		}
	}
	const none = 1 // IN6_ADDR_GEN_MODE_NONE, if_link.h: it makes none of its own when the carrier comes
	if err := h.LinkSetIP6AddrGenMode(link, none); err != nil {
		return fmt.Errorf("take over the link-local address of %s in the container: %w", name, err)
	}
	return addAddresses(h, link, []netip.Prefix{netip.PrefixFrom(linkLocal(link.Attrs().HardwareAddr), 64)})
}

// linkLocal is the link-local address with the modified EUI-64 of a MAC (RFC 4291, appendix A).
func linkLocal(mac net.HardwareAddr) netip.Addr {
	a := [16]byte{0xfe, 0x80}
	copy(a[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return netip.AddrFrom16(a)
}

func addAddresses(h *netlink.Handle, link netlink.Link, addresses []netip.Prefix) error {
	for _, p := range addresses {
		// Nobody else has the address, the database sees to that; waiting for a duplicate would only cost a second.
		if err := h.AddrReplace(link, &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("add %s to %s in the container: %w", p, link.Attrs().Name, err)
		}
	}
	return nil
}

func applyGateways(h *netlink.Handle, name string, last, next []netip.Addr) error {
	link, err := h.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for %s in the container: %w", name, err)
	}
	for _, g := range last {
		if !slices.Contains(next, g) {
			if err := h.RouteDel(defaultRoute(link, g)); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("remove the default route by %s in the container: %w", g, err)
			}
		}
	}
	for _, g := range next {
		if err := h.RouteReplace(defaultRoute(link, g)); err != nil {
			return fmt.Errorf("route by %s in the container: %w", g, err)
		}
	}
	return nil
}

func defaultRoute(link netlink.Link, gateway netip.Addr) *netlink.Route {
	everything := netip.PrefixFrom(gateway, 0).Masked()
	return &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(everything), Gw: gateway.AsSlice(), Protocol: unix.RTPROT_STATIC}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// dropLinks removes interfaces on the member that a container which is gone has left. Their names are ours alone.
func dropLinks(n compute.Network) error {
	var errs []error
	for _, nic := range n.NICs {
		link, err := netlink.LinkByName(nic.Link)
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			continue
		}
		if err == nil {
			err = netlink.LinkDel(link)
		}
		// The kernel clears pairs away by itself when their container's network ends; it may have been faster.
		if err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("remove interface %s: %w", nic.Link, err))
		}
	}
	return errors.Join(errs...)
}
