package router

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"netfabric/bgp"
)

const (
	filterTable = "fabric_router"
	filterChain = "input"
)

// doorSets are the names of the sets of those who are admitted: by the first door, and by the second, which is for members.
var doorSets = []string{"admitted", "members"}

// filter keeps a guard in a table of nftables that is the worker's own. Others are never touched.
type filter struct {
	now   guard
	known bool // what the table is is known to be now
	rules int  // in the table

	failure error // of the last attempt to make it what it should be
	pause   time.Duration
	again   time.Time // when the next attempt is due; zero: none is
}

// Pauses between attempts that fail: others' transactions may come in between, which is over soon, or the kernel may have no nftables.
const (
	firstFilterPause = 50 * time.Millisecond
	longFilterPause  = 10 * time.Second
)

// put makes the table what the guard says, in one transaction. Repeats are free, and those of what has just failed wait.
func (f *filter) put(g guard, now time.Time) error {
	if f.known && f.now.equal(g) || f.failure != nil && now.Before(f.again) {
		return f.failure
	}
	f.known = false
	if err := f.install(g); err != nil {
		f.failure = fmt.Errorf("guard BGP with nftables table %s: %w", filterTable, err)
		f.pause = min(max(2*f.pause, firstFilterPause), longFilterPause)
		f.again = now.Add(f.pause)
		return f.failure
	}
	f.now, f.known, f.failure, f.pause, f.again = g, true, nil, 0, time.Time{}
	return nil
}

// remove takes the table away.
func (f *filter) remove() error { return f.install(guard{}) }

// Deadline is when an attempt is due; ok is false when none is.
func (f *filter) Deadline() (at time.Time, ok bool) { return f.again, !f.again.IsZero() }

func (f *filter) install(g guard) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	f.rules = replace(conn, g)
	return conn.Flush()
}

// lost tells whether the table is not as put left it, because somebody flushed all rules: then the next put makes it anew.
func (f *filter) lost() bool {
	if !f.known {
		return false // put has failed, and is tried again
	}
	conn, err := nftables.New()
	if err != nil {
		return false
	}
	table := &nftables.Table{Name: filterTable, Family: nftables.TableFamilyINet}
	rules, err := conn.GetRules(table, &nftables.Chain{Name: filterChain, Table: table})
	if err != nil && !errors.Is(err, unix.ENOENT) || len(rules) == f.rules {
		return false
	}
	f.known = false
	return true
}

// replace puts the whole table into a transaction, and tells how many rules it has.
func replace(conn *nftables.Conn, g guard) (rules int) {
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
	add := func(exprs ...[]expr.Any) {
		rules++
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(slices.Concat(exprs...), &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})})
	}
	for _, h := range []header{header4, header6} {
		if near := h.addressesOf(g.near); len(near) > 0 {
			set := h.set(conn, table, "near", near)
			for _, port := range g.ports() {
				add(h.tcp(), port, h.source(set, false), h.crossedRouter())
			}
		}
		for n, d := range g.doors {
			a := d.listen.Addr()
			if a.Is6() != (h.family == unix.NFPROTO_IPV6) && a != netip.IPv6Unspecified() {
				continue
			}
			set := h.set(conn, table, doorSets[n], h.addressesOf(d.admit))
			to := []expr.Any{}
			if !a.IsUnspecified() {
				to = h.to(a)
			}
			rule := [][]expr.Any{h.tcp(), to, port(destinationPort, d.listen.Port()), h.source(set, true)}
			for _, p := range d.open {
				if uint32(p.Addr().BitLen()/8) == h.length {
					rule = append(rule, h.outside(p))
				}
			}
			add(rule...)
			for _, a := range h.addressesOf(d.admit) {
				if a.Zone() != "" {
					add(h.tcp(), to, port(destinationPort, d.listen.Port()), h.from(a), elsewhere(a.Zone()))
				}
			}
		}
	}
	return rules
}

// ports match segments of sessions: those that this side dialled, and those that it accepted.
func (g guard) ports() [][]expr.Any {
	all := [][]expr.Any{port(sourcePort, bgp.Port)}
	if len(g.doors) > 0 { // they have one port
		all = append(all, port(destinationPort, g.doors[0].listen.Port()))
	}
	return all
}

// Offsets in the TCP header (RFC 9293, 3.1).
const (
	sourcePort      = 0
	destinationPort = 2
)

func port(offset uint32, number uint16) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(number)},
	}
}

// header is where things stand in the header of an IP version.
type header struct {
	family                         byte
	version                        string
	key                            nftables.SetDatatype
	length                         uint32 // of an address
	sourceAt, destinationAt, ttlAt uint32
}

var (
	header4 = header{unix.NFPROTO_IPV4, "4", nftables.TypeIPAddr, 4, 12, 16, 8}  // RFC 791, 3.1
	header6 = header{unix.NFPROTO_IPV6, "6", nftables.TypeIP6Addr, 16, 8, 24, 7} // RFC 8200, 3
)

func (h header) addressesOf(all []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(all), func(a netip.Addr) bool { return uint32(a.BitLen()/8) != h.length })
}

// set makes a named set of addresses.
func (h header) set(conn *nftables.Conn, table *nftables.Table, name string, addresses []netip.Addr) *nftables.Set {
	s := &nftables.Set{Table: table, Name: name + h.version, KeyType: h.key}
	var elements []nftables.SetElement
	for _, a := range unzoned(addresses) {
		elements = append(elements, nftables.SetElement{Key: a.AsSlice()})
	}
	_ = conn.AddSet(s, elements) // fails only for kinds of sets that this is not
	return s
}

// unzoned are addresses without their zones, each once.
func unzoned(addresses []netip.Addr) []netip.Addr {
	var all []netip.Addr
	for _, a := range addresses {
		all = append(all, a.WithZone(""))
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

func (h header) tcp() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{h.family}},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
	}
}

// source matches packets from an address of a set, or from any other one.
func (h header) source(s *nftables.Set, other bool) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: h.sourceAt, Len: h.length},
		&expr.Lookup{SourceRegister: 1, SetName: s.Name, SetID: s.ID, Invert: other},
	}
}

func (h header) to(a netip.Addr) []expr.Any { return h.address(h.destinationAt, a) }

func (h header) from(a netip.Addr) []expr.Any { return h.address(h.sourceAt, a) }

func (h header) address(offset uint32, a netip.Addr) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: h.length},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: a.AsSlice()},
	}
}

// outside matches packets from addresses that are not in a prefix.
func (h header) outside(p netip.Prefix) []expr.Any {
	mask := make([]byte, h.length)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: h.sourceAt, Len: h.length},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: h.length, Mask: mask, Xor: make([]byte, h.length)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: p.Addr().AsSlice()},
	}
}

// elsewhere matches packets that came in on another interface than this.
func elsewhere(name string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: padded},
	}
}

// crossedRouter matches a TTL or hop limit that is not the one that was sent.
func (h header) crossedRouter() []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: h.ttlAt, Len: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{255}},
	}
}
