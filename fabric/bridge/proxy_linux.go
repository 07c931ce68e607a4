package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ensureProxies has the bridge answer for addresses of its network that are on other members: instances look for them on the link. For ARP the kernel
// answers when its route to the address leads elsewhere (proxy_arp in ip-sysctl); for NDP it has to be told each address.
func (k *kernel) ensureProxies(link netlink.Link, p bridgePlan) error {
	on := "0"
	if p.routed {
		on = "1"
	}
	for _, s := range []struct{ path, value string }{
		{filepath.Join("ipv4/conf", p.name, "proxy_arp"), on}, {filepath.Join("ipv6/conf", p.name, "proxy_ndp"), on},
		// Answers of a proxy may wait up to this, so that the host itself is heard first (RFC 4861, 7.2.8): here it can't be.
		{filepath.Join("ipv4/neigh", p.name, "proxy_delay"), "0"}, {filepath.Join("ipv6/neigh", p.name, "proxy_delay"), "0"},
	} {
		if _, err := writeSysctl(s.path, s.value); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return wrap(p.name, "answer for instances on other members", err)
		}
	}
	have, err := k.proxies(link)
	if err != nil {
		return wrap(p.name, "list addresses that it answers for", err)
	}
	for _, a := range p.remote6 {
		if slices.Contains(have, a) {
			continue
		}
		if err := k.h.NeighSet(proxyEntry(link, a)); err != nil {
			return wrap(p.name, fmt.Sprintf("answer for %s", a), err)
		}
	}
	for _, a := range have {
		if slices.Contains(p.remote6, a) || !slices.ContainsFunc(p.gateways, func(g netip.Prefix) bool { return g.Contains(a) }) {
			continue
		}
		if err := k.h.NeighDel(proxyEntry(link, a)); err != nil && !errors.Is(err, unix.ENOENT) {
			return wrap(p.name, fmt.Sprintf("answer for %s no more", a), err)
		}
	}
	return nil
}

// proxies are the IPv6 addresses that an interface answers for.
func (k *kernel) proxies(link netlink.Link) ([]netip.Addr, error) {
	list, err := k.h.NeighProxyList(link.Attrs().Index, netlink.FAMILY_V6)
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for _, n := range list {
		if a, ok := netip.AddrFromSlice(n.IP); ok {
			all = append(all, a)
		}
	}
	return all, nil
}

func proxyEntry(link netlink.Link, a netip.Addr) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: link.Attrs().Index, Family: netlink.FAMILY_V6, Flags: netlink.NTF_PROXY, IP: a.AsSlice()}
}
