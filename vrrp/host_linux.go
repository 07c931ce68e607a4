package vrrp

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

// hosting is how much of a virtual router this host has.
type hosting int

const (
	hostDown  hosting = iota // the interface is there, and down: frames to the virtual MAC are not ours
	hostQuiet                // they are forwarded, but we keep as silent there as the kernel lets us
	hostUp                   // and the addresses are there
)

// hostWant is what the host should have for one virtual router.
type hostWant struct {
	gateway   string
	parent    string
	index     int // of the parent
	hosting   hosting
	addresses []netip.Prefix
	serial    uint64 // of the wish; told back when it is done
}

// hostDone tells that a wish has been tried.
type hostDone struct {
	key    routerKey
	serial uint64
	err    error
	setup  bool // of the host as a whole, not of a virtual router
}

// host makes interfaces and addresses follow wishes, in a goroutine of its own: the kernel's configuration lock can be
// held by others for long, and advertisements must not wait for it.
type host struct {
	nl   *netlink.Handle
	done func(hostDone)

	mu    sync.Mutex
	wants map[routerKey]*hostWant // nil value: remove
	dirty map[routerKey]bool
	purge bool // remove what an earlier run left and nobody wants
	stop  bool
	wake  chan struct{}
	ended chan struct{}

	setup      setup
	setupDirty bool // to be applied
	pruneDirty bool // what it has no more is to be put back, once no wish is left
	checked    time.Time

	// Only the goroutine uses these.
	keeper  *keeper
	filter  filter
	pruning bool // it is known what is wanted
}

func newHost(nl *netlink.Handle, keeper *keeper, done func(hostDone)) *host {
	return &host{
		nl: nl, done: done, wants: map[routerKey]*hostWant{}, dirty: map[routerKey]bool{}, wake: make(chan struct{}, 1),
		ended: make(chan struct{}), keeper: keeper,
	}
}

// prepare has the host be as virtual routers need it. What is new, or concerns interfaces that are, is done before any wish that is recorded afterwards;
// whether all is still so is looked at when there is nothing else to do, and not often: an Active waits for its addresses meanwhile.
func (h *host) prepare(s setup, interfaces bool, now time.Time) {
	h.mu.Lock()
	same := h.setup.equal(s) && !interfaces
	if same && now.Sub(h.checked) < rescanPeriod/2 {
		h.mu.Unlock()
		return
	}
	h.setup, h.checked = s, now
	h.setupDirty, h.pruneDirty = h.setupDirty || !same, true
	h.mu.Unlock()
	h.poke()
}

// set records a wish; nil is for the interface to go.
func (h *host) set(k routerKey, w *hostWant) {
	h.mu.Lock()
	h.wants[k], h.dirty[k] = w, true
	h.mu.Unlock()
	h.poke()
}

// purgeOthers removes what earlier runs left and is not wanted.
func (h *host) purgeOthers() {
	h.mu.Lock()
	h.purge = true
	h.mu.Unlock()
	h.poke()
}

// close waits until all wishes have been tried.
func (h *host) close() {
	h.mu.Lock()
	h.stop = true
	h.mu.Unlock()
	h.poke()
	<-h.ended
}

func (h *host) poke() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *host) run() {
	defer close(h.ended)
	for {
		k, w, what := h.next()
		switch what {
		case "wish":
			serial := uint64(0)
			var err error
			if w == nil {
				err = h.remove(k)
			} else {
				serial = w.serial
				err = h.apply(k, *w)
			}
			h.done(hostDone{key: k, serial: serial, err: err})
		case "setup":
			h.mu.Lock()
			s := h.setup
			h.mu.Unlock()
			h.done(hostDone{setup: true, err: errors.Join(h.keeper.apply(s, false), h.filter.put(s.guard))})
		case "purge":
			h.removeLeftovers()
			h.pruning = true
		case "prune":
			h.mu.Lock()
			s := h.setup
			h.mu.Unlock()
			h.done(hostDone{setup: true, err: errors.Join(h.keeper.apply(s, h.pruning), h.filter.put(s.guard))})
		case "stop":
			return
		default:
			<-h.wake
		}
	}
}

// next takes the most urgent wish: coming up before going down, which is slow.
func (h *host) next() (k routerKey, w *hostWant, what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.setupDirty {
		h.setupDirty = false
		return k, nil, "setup"
	}
	best := -1
	for key := range h.dirty {
		urgency := 0
		if want := h.wants[key]; want != nil {
			urgency = 1 + int(want.hosting)
		}
		if urgency > best {
			best, k = urgency, key
		}
	}
	if best >= 0 {
		delete(h.dirty, k)
		w = h.wants[k]
		if w == nil {
			delete(h.wants, k)
		}
		return k, w, "wish"
	}
	if h.purge {
		h.purge, h.pruneDirty = false, true
		return k, nil, "purge"
	}
	if h.pruneDirty {
		h.pruneDirty = false
		return k, nil, "prune"
	}
	if h.stop {
		return k, nil, "stop"
	}
	return k, nil, ""
}

// linkName is the interface with the virtual MAC: at most 15 bytes. The parent's index tells equal VRIDs apart.
func linkName(k routerKey, parentIndex int) string {
	return fmt.Sprintf("vr%s-%d-%d", strings.TrimPrefix(string(k.Family), "ipv"), k.VRID, parentIndex)
}

// aliasPrefix marks interfaces as ours; what follows tells what for.
const aliasPrefix = "netfabric vrrp "

// apply makes one virtual router's interface as wished.
func (h *host) apply(k routerKey, w hostWant) error {
	link, err := h.ensureLink(k, w)
	if err != nil {
		return err
	}
	name, up := link.Attrs().Name, link.Attrs().Flags&net.FlagUp != 0
	switch {
	case w.hosting == hostUp && k.Family == IPv4:
		if err := writeSysctl("ipv4", name, "arp_ignore", "1"); err != nil {
			return err
		}
	case w.hosting == hostQuiet && k.Family == IPv4:
		return writeSysctl("ipv4", name, "arp_ignore", "8") // addresses stay: the reverse-path filter wants one
	case w.hosting == hostQuiet:
		return nil // to remove addresses would send MLD reports from the virtual MAC, and turn switches back to us
	case w.hosting == hostDown:
		if up {
			if err := h.takeDown(link, k); err != nil {
				return fmt.Errorf("take %s down: %w", name, err)
			}
		}
		return h.setAddresses(link, k.Family, nil, w.parent)
	}
	if !up {
		if err := h.nl.LinkSetUp(link); err != nil {
			return fmt.Errorf("bring %s up: %w", name, err)
		}
	}
	return h.setAddresses(link, k.Family, w.addresses, w.parent)
}

// takeDown brings the interface down under another MAC: the kernel reports as it goes that multicast groups are left, and from the virtual
// MAC that would turn switches back to this host until the Active's next announcement.
func (h *host) takeDown(link netlink.Link, k routerKey) error {
	virtual := VirtualMAC(k.Family, k.VRID)
	local := slices.Clone(virtual)
	local[0] |= 2 // locally administered: nobody else's
	if err := h.nl.LinkSetHardwareAddr(link, local); err != nil {
		return err
	}
	return errors.Join(h.nl.LinkSetDown(link), h.nl.LinkSetHardwareAddr(link, virtual))
}

// ensureLink makes the macvlan. In bridge mode the parent hears other routers that use the same MAC, as it must to
// notice a second Active; in private mode the kernel would keep their frames from it.
func (h *host) ensureLink(k routerKey, w hostWant) (netlink.Link, error) {
	name, mac := linkName(k, w.index), VirtualMAC(k.Family, k.VRID)
	link, err := h.nl.LinkByName(name)
	if err == nil {
		a := link.Attrs()
		if !strings.HasPrefix(a.Alias, aliasPrefix) {
			return nil, fabric.Conflictf("gateway-link-taken", "interface %s is there already and is not ours", name).
				WithFix("rename or delete it")
		}
		if m, ok := link.(*netlink.Macvlan); ok && a.ParentIndex == w.index && a.HardwareAddr.String() == mac.String() && m.Mode == netlink.MACVLAN_MODE_BRIDGE {
			return link, h.mark(k, w, link)
		}
		if err := h.nl.LinkDel(link); err != nil {
			return nil, fmt.Errorf("replace %s: %w", name, err)
		}
	} else if !errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, fmt.Errorf("look for %s: %w", name, err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.HardwareAddr = name, w.index, mac
	link = &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}
	if err := h.nl.LinkAdd(link); err != nil {
		return nil, fmt.Errorf("make %s on %s: %w", name, w.parent, err)
	}
	if err := h.mark(k, w, link); err != nil {
		return nil, err
	}
	return link, setLinkSysctls(k.Family, name)
}

// setLinkSysctls makes the interface forward, and answer for nothing but its own addresses. They are not put back, as
// the interface is ours and goes.
func setLinkSysctls(f Family, name string) error {
	if f == IPv4 {
		return errors.Join(
			writeSysctl("ipv6", name, "disable_ipv6", "1"),
			writeSysctl("ipv4", name, "arp_ignore", "1"),
			writeSysctl("ipv4", name, "arp_announce", "2"),
			writeSysctl("ipv4", name, "rp_filter", "2"), // hosts' route back is the parent's
			writeSysctl("ipv4", name, "accept_redirects", "0"),
			writeSysctl("ipv4", name, "forwarding", "1"),
		)
	}
	err := errors.Join(
		writeSysctl("ipv4", name, "arp_ignore", "8"),
		writeSysctl("ipv6", name, "addr_gen_mode", "1"),
		writeSysctl("ipv6", name, "accept_ra", "0"),
		writeSysctl("ipv6", name, "accept_redirects", "0"),
		writeSysctl("ipv6", name, "forwarding", "1"),
		// A repeated report, from the virtual MAC, of a router that has just handed over would turn switches back to it.
		// The first report, which comes with the address, is what snooping switches need.
		writeSysctl("ipv6", name, "mldv1_unsolicited_report_interval", "60000"),
		writeSysctl("ipv6", name, "mldv2_unsolicited_report_interval", "60000"),
	)
	// Since Linux 6.17; before, IPv6 is forwarded only where net.ipv6.conf.all.forwarding says so.
	if e := writeSysctl("ipv6", name, "force_forwarding", "1"); !errors.Is(e, os.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

// setAddresses adds what is missing, then removes what is too much.
func (h *host) setAddresses(link netlink.Link, f Family, want []netip.Prefix, parent string) error {
	family := unix.AF_INET
	if f == IPv6 {
		family = unix.AF_INET6
	}
	have, err := h.nl.AddrList(link, family)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", link.Attrs().Name, err)
	}
	var errs []error
	for _, p := range want {
		if !slices.ContainsFunc(have, func(a netlink.Addr) bool { return prefixOf(a) == p }) {
			if err := h.nl.AddrReplace(link, h.address(p, parent)); err != nil {
				errs = append(errs, fmt.Errorf("add %s to %s: %w", p, link.Attrs().Name, err))
			}
		}
	}
	for _, a := range have {
		if !slices.Contains(want, prefixOf(a)) {
			if err := h.nl.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
				errs = append(errs, fmt.Errorf("remove %s from %s: %w", prefixOf(a), link.Attrs().Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// address is how an address is put on the interface: without a route to its subnet where the parent has one already,
// and not as the source of this host's own connections.
func (h *host) address(p netip.Prefix, parent string) *netlink.Addr {
	a := &netlink.Addr{IPNet: ipNet(p), Broadcast: net.IPv4zero}
	if !p.Addr().IsLinkLocalUnicast() && h.parentHas(parent, p) {
		a.Flags |= unix.IFA_F_NOPREFIXROUTE
	}
	if p.Addr().Is6() {
		a.Flags |= unix.IFA_F_NODAD // every member has it; the election says who may
		if !p.Addr().IsLinkLocalUnicast() {
			a.ValidLft = math.MaxUint32
		}
	}
	return a
}

func (h *host) parentHas(parent string, p netip.Prefix) bool {
	link, err := h.nl.LinkByName(parent)
	if err != nil {
		return false
	}
	list, err := h.nl.AddrList(link, netlink.FAMILY_ALL)
	return err == nil && slices.ContainsFunc(list, func(a netlink.Addr) bool { return prefixOf(a).Masked() == p.Masked() })
}

// remove takes the interface away, and puts back what was changed for it.
func (h *host) remove(k routerKey) error {
	links, err := h.ours()
	if err != nil {
		return err
	}
	var errs []error
	for _, link := range links {
		if key, ok := parseAlias(link.Attrs().Alias); ok && key == k {
			if link.Attrs().Flags&net.FlagUp != 0 {
				if err := h.takeDown(link, k); err != nil {
					errs = append(errs, fmt.Errorf("take %s down: %w", link.Attrs().Name, err))
				}
			}
			if err := h.nl.LinkDel(link); err != nil {
				errs = append(errs, fmt.Errorf("delete %s: %w", link.Attrs().Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// removeLeftovers removes interfaces of an earlier run that are not wanted.
func (h *host) removeLeftovers() {
	links, err := h.ours()
	if err != nil {
		h.done(hostDone{err: fmt.Errorf("look for what an earlier run left: %w", err)})
		return
	}
	for _, link := range links {
		k, ok := parseAlias(link.Attrs().Alias)
		h.mu.Lock()
		wanted := ok && h.wants[k] != nil
		h.mu.Unlock()
		if wanted {
			continue
		}
		var err error
		if ok && link.Attrs().Flags&net.FlagUp != 0 {
			err = h.takeDown(link, k)
		}
		if err = errors.Join(err, h.nl.LinkDel(link)); err != nil {
			h.done(hostDone{err: fmt.Errorf("remove %s of an earlier run: %w", link.Attrs().Name, err)})
		}
	}
}

func (h *host) ours() ([]netlink.Link, error) {
	all, err := h.nl.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	return slices.DeleteFunc(all, func(l netlink.Link) bool { return !strings.HasPrefix(l.Attrs().Alias, aliasPrefix) }), nil
}

// mark says of an interface that it is ours, and what it is for.
func (h *host) mark(k routerKey, w hostWant, link netlink.Link) error {
	alias := fmt.Sprintf("%s%s %s %d gateway=%s", aliasPrefix, k.Interface, k.Family, k.VRID, w.gateway)
	if link.Attrs().Alias == alias {
		return nil
	}
	if err := h.nl.LinkSetAlias(link, alias); err != nil {
		return fmt.Errorf("mark %s as ours: %w", link.Attrs().Name, err)
	}
	return nil
}

func parseAlias(alias string) (k routerKey, ok bool) {
	rest, ours := strings.CutPrefix(alias, aliasPrefix)
	fields := strings.Fields(rest)
	if !ours || len(fields) < 3 {
		return k, false
	}
	vrid := 0
	if _, err := fmt.Sscanf(fields[2], "%d", &vrid); err != nil || vrid < 1 || vrid > 255 {
		return k, false
	}
	return routerKey{fields[0], Family(fields[1]), uint8(vrid)}, true
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(a netlink.Addr) netip.Prefix {
	address, _ := netip.AddrFromSlice(a.IP)
	bits, _ := a.Mask.Size()
	return netip.PrefixFrom(address.Unmap(), bits)
}
