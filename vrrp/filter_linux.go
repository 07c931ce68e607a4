package vrrp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	filterTable = "fabric_vrrp"
	filterChain = "input"
)

// filter keeps a guard in a table of nftables that is ours alone.
type filter struct {
	now   guard
	known bool // what the table is is known to be now
	rules int  // in the table
}

// put makes the table what the guard says, in one transaction. Repeats are free, unless somebody else has flushed the rules.
func (f *filter) put(g guard) error {
	if f.known && f.now.equal(g) && !f.lost() {
		return nil
	}
	f.known = false
	conn, err := nftables.New()
	if err == nil {
		f.rules = g.replace(conn)
		err = conn.Flush()
	}
	if err != nil {
		return fmt.Errorf("keep packets from the addresses of gateways with nftables table %s: %w", filterTable, err)
	}
	f.now, f.known = g, true
	return unfollow(g.deafTo)
}

// unfollow removes what the host took of the advertisements of routers that it is deaf to now: what it followed as a host, it is itself as a member.
func unfollow(routers []netip.Addr) error {
	if len(routers) == 0 {
		return nil
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Protocol: unix.RTPROT_RA}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return fmt.Errorf("look for routes by way of its own gateways: %w", err)
	}
	for _, r := range routes {
		if via, ok := netip.AddrFromSlice(r.Gw); !ok || !slices.Contains(routers, via) {
			continue
		}
		if e := netlink.RouteDel(&r); e != nil && !errors.Is(e, unix.ESRCH) {
			err = errors.Join(err, fmt.Errorf("remove the route by way of its own gateway %v: %w", r.Gw, e))
		}
	}
	return err
}

func (f *filter) lost() bool {
	if f.now.empty() {
		return false
	}
	conn, err := nftables.New()
	if err != nil {
		return false
	}
	table := &nftables.Table{Name: filterTable, Family: nftables.TableFamilyINet}
	rules, err := conn.GetRules(table, &nftables.Chain{Name: filterChain, Table: table})
	return (err == nil || errors.Is(err, unix.ENOENT)) && len(rules) != f.rules
}

// replace puts the whole table into a transaction, and tells how many rules it has.
func (g guard) replace(conn *nftables.Conn) (rules int) {
	table := &nftables.Table{Name: filterTable, Family: nftables.TableFamilyINet}
	conn.AddTable(table) // only what is there can be deleted
	conn.DelTable(table)
	if g.empty() {
		return 0
	}
	conn.AddTable(table)
	policy := nftables.ChainPolicyAccept
	chain := conn.AddChain(&nftables.Chain{
		Name: filterChain, Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter, Policy: &policy,
	})
	add := func(verdict expr.VerdictKind, match ...[]expr.Any) {
		rules++
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(slices.Concat(match...), &expr.Counter{}, &expr.Verdict{Kind: verdict})})
	}
	add(expr.VerdictAccept, []expr.Any{ // what this host sends itself
		&expr.Meta{Key: expr.MetaKeyIIFTYPE, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint16(unix.ARPHRD_LOOPBACK)},
	})
	if len(g.deafTo) > 0 {
		add(expr.VerdictDrop, icmp6(routerAdvertisement), icmp6To(routerAdvertisement), oneOf(conn, table, "deaf", IPv6, sourceAddress, g.deafTo))
	}
	add(expr.VerdictAccept, icmp6(133), icmp6To(137)) // never neighbour discovery: RFC 9568, 6.4.3
	for _, f := range []Family{IPv4, IPv6} {
		if to := ofFamily(g.refuse, f); len(to) > 0 {
			add(expr.VerdictDrop, oneOf(conn, table, "refuse", f, destinationAddress, to))
		}
	}
	return rules
}

// icmp6 matches ICMPv6 messages of a type or above.
func icmp6(lowest byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV6}},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_ICMPV6}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: []byte{lowest}},
	}
}

// icmp6To bounds what icmp6 has loaded.
func icmp6To(highest byte) []expr.Any {
	return []expr.Any{&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: []byte{highest}}}
}

// Offsets of addresses in the headers of IPv4 and IPv6 (RFC 791, 3.1; RFC 8200, 3).
var (
	sourceAddress      = map[Family]uint32{IPv4: 12, IPv6: 8}
	destinationAddress = map[Family]uint32{IPv4: 16, IPv6: 24}
)

// oneOf matches packets from or to one of the addresses of a family.
func oneOf(conn *nftables.Conn, table *nftables.Table, name string, f Family, offset map[Family]uint32, addresses []netip.Addr) []expr.Any {
	set := &nftables.Set{Table: table, Name: name + "4", KeyType: nftables.TypeIPAddr}
	version, length := byte(unix.NFPROTO_IPV4), uint32(4)
	if f == IPv6 {
		set.Name, set.KeyType = name+"6", nftables.TypeIP6Addr
		version, length = unix.NFPROTO_IPV6, 16
	}
	var elements []nftables.SetElement
	for _, a := range addresses {
		elements = append(elements, nftables.SetElement{Key: a.AsSlice()})
	}
	_ = conn.AddSet(set, elements) // fails only for kinds of sets that this is not
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{version}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset[f], Len: length},
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
	}
}
