package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// proxyProtocol marks NDP proxy entries that are made here (NDA_PROTOCOL): others have none, or that of a routing daemon. The routing worker's routes have
// the same number.
const proxyProtocol = 159

// usualProxyDelay is the kernel's own proxy_delay, in hundredths of a second (arp(7)).
const usualProxyDelay = "80"

// ensureProxies has the bridge answer for addresses of its network that are on other members: instances look for them on the link. For ARP the kernel
// answers when its route to the address leads elsewhere (proxy_arp in ip-sysctl); for NDP it has to be told each address.
func (k *kernel) ensureProxies(link netlink.Link, p bridgePlan) error {
	for _, s := range []struct{ answer, delay string }{
		{filepath.Join("ipv4/conf", p.name, "proxy_arp"), filepath.Join("ipv4/neigh", p.name, "proxy_delay")},
		{filepath.Join("ipv6/conf", p.name, "proxy_ndp"), filepath.Join("ipv6/neigh", p.name, "proxy_delay")},
	} {
		if err := ensureProxySysctls(s.answer, s.delay, p.routed); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return wrap(p.name, "answer for instances on other members", err)
		}
	}
	have, err := k.proxies(link)
	if err != nil {
		return wrap(p.name, "list addresses that it answers for", err)
	}
	add, remove := proxyDiff(have, p.remote6)
	for _, a := range add {
		if err := addProxy(link, a); err != nil {
			return wrap(p.name, fmt.Sprintf("answer for %s", a), err)
		}
	}
	for _, a := range remove {
		entry := &netlink.Neigh{LinkIndex: link.Attrs().Index, Family: netlink.FAMILY_V6, Flags: netlink.NTF_PROXY, IP: a.AsSlice()}
		if err := k.h.NeighDel(entry); err != nil && !errors.Is(err, unix.ENOENT) {
			return wrap(p.name, fmt.Sprintf("answer for %s no more", a), err)
		}
	}
	return nil
}

// ensureProxySysctls has a bridge answer or not.
func ensureProxySysctls(answer, delay string, routed bool) error {
	var old [2]string
	for n, path := range []string{answer, delay} {
		data, err := os.ReadFile(filepath.Join(sysctlRoot, path))
		if err != nil {
			return err
		}
		old[n] = strings.TrimSpace(string(data))
	}
	answers, waits := proxyValues(routed, old[0], old[1])
	if _, err := writeSysctl(answer, answers); err != nil {
		return err
	}
	_, err := writeSysctl(delay, waits)
	return err
}

// proxyValues are what the settings of a bridge become: whether it answers (proxy_arp, proxy_ndp), and for how long that may wait (proxy_delay). A proxy
// waits so that the host itself is heard first (RFC 4861, 7.2.8): here it can't be. That it does not wait also says, after a restart too, that this program
// set it up; what others set stays.
func proxyValues(routed bool, answers, delay string) (string, string) {
	switch {
	case routed:
		return "1", "0"
	case answers == "1" && delay == "0":
		return "0", usualProxyDelay
	}
	return answers, delay
}

// proxyDiff is what has to be added and removed. have are the addresses that the bridge answers for, and whether by us.
func proxyDiff(have map[netip.Addr]bool, want []netip.Addr) (add, remove []netip.Addr) {
	wanted := map[netip.Addr]bool{}
	for _, a := range want {
		if _, there := have[a]; !there && !wanted[a] {
			add = append(add, a)
		}
		wanted[a] = true
	}
	for a, ours := range have {
		if ours && !wanted[a] {
			remove = append(remove, a)
		}
	}
	return add, remove
}

// proxies are the IPv6 addresses that an interface answers for, and whether the entry has our mark. The library tells of no marks.
func (k *kernel) proxies(link netlink.Link) (map[netip.Addr]bool, error) {
	ask := &netlink.Ndmsg{Family: netlink.FAMILY_V6, Index: uint32(link.Attrs().Index), Flags: netlink.NTF_PROXY}
	req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, unix.NLM_F_DUMP)
	req.AddData(ask)
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
	if err != nil {
		return nil, err
	}
	all := map[netip.Addr]bool{}
	for _, m := range messages {
		n, err := netlink.NeighDeserialize(m)
		if err != nil {
			return nil, err
		}
		a, ok := netip.AddrFromSlice(n.IP)
		if !ok || n.LinkIndex != link.Attrs().Index || n.Flags&netlink.NTF_PROXY == 0 {
			continue
		}
		attrs, err := nl.ParseRouteAttr(m[ask.Len():])
		if err != nil {
			return nil, err
		}
		all[a] = false
		for _, attr := range attrs {
			if attr.Attr.Type == netlink.NDA_PROTOCOL && len(attr.Value) > 0 {
				all[a] = attr.Value[0] == proxyProtocol
			}
		}
	}
	return all, nil
}

// addProxy has an interface answer for an address, with our mark. The library can't set that.
func addProxy(link netlink.Link, a netip.Addr) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK)
	req.AddData(&netlink.Ndmsg{Family: netlink.FAMILY_V6, Index: uint32(link.Attrs().Index), Flags: netlink.NTF_PROXY})
	req.AddData(nl.NewRtAttr(netlink.NDA_DST, a.AsSlice()))
	req.AddData(nl.NewRtAttr(netlink.NDA_PROTOCOL, []byte{proxyProtocol}))
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}
