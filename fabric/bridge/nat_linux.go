package bridge

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	natTable = "fabric"
	natChain = "postrouting" // nft(8) can't name a chain masquerade
)

// ensureMasquerade makes the given subnets, and no others, hide behind the member's address when they talk to the outside. It owns one chain; a
// change replaces all of its rules in one transaction.
func ensureMasquerade(subnets []netip.Prefix) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	table := &nftables.Table{Name: natTable, Family: nftables.TableFamilyINet}
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("list nftables chains: %w", err)
	}
	chains = slices.DeleteFunc(chains, func(c *nftables.Chain) bool { return c.Table.Name != natTable })
	have, there, err := masqueradeRules(conn, table, chains)
	if err != nil {
		return err
	}
	if there && len(subnets) == 0 {
		if len(chains) == 1 {
			conn.DelTable(table)
		} else {
			conn.DelChain(&nftables.Chain{Name: natChain, Table: table})
		}
		return wrapMasquerade(conn.Flush())
	}
	var want []string
	for _, p := range subnets {
		want = append(want, p.String())
	}
	if slices.Equal(have, want) {
		return nil
	}
	conn.AddTable(table)
	policy := nftables.ChainPolicyAccept
	chain := conn.AddChain(&nftables.Chain{
		Name: natChain, Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource, Policy: &policy,
	})
	conn.FlushChain(chain)
	for _, p := range subnets {
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: masquerade(p), UserData: []byte(p.String())})
	}
	return wrapMasquerade(conn.Flush())
}

func wrapMasquerade(err error) error {
	if err != nil {
		return fmt.Errorf("replace the masquerading rules: %w", err)
	}
	return nil
}

// masqueradeRules lists the subnets that our chain has rules for; there tells whether there is a chain.
func masqueradeRules(conn *nftables.Conn, table *nftables.Table, chains []*nftables.Chain) (subnets []string, there bool, err error) {
	at := slices.IndexFunc(chains, func(c *nftables.Chain) bool { return c.Name == natChain })
	if at < 0 {
		return nil, false, nil
	}
	rules, err := conn.GetRules(table, chains[at])
	if err != nil {
		return nil, false, fmt.Errorf("list the masquerading rules: %w", err)
	}
	for _, r := range rules {
		subnets = append(subnets, string(r.UserData))
	}
	return subnets, true, nil
}

// masquerade matches what leaves a subnet for somewhere else.
func masquerade(p netip.Prefix) []expr.Any {
	family, length := byte(unix.NFPROTO_IPV4), uint32(4)
	source, destination := uint32(12), uint32(16) // of the addresses in the IPv4 header, RFC 791 section 3.1
	if p.Addr().Is6() {
		family, length = unix.NFPROTO_IPV6, 16
		source, destination = 8, 24 // RFC 8200 section 3
	}
	network, mask := p.Masked().Addr().AsSlice(), net.CIDRMask(p.Bits(), p.Addr().BitLen())
	zero := make([]byte, length)
	inSubnet := func(offset uint32, op expr.CmpOp) []expr.Any {
		return []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: length, Mask: mask, Xor: zero},
			&expr.Cmp{Op: op, Register: 1, Data: network},
		}
	}
	return slices.Concat(
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}}},
		inSubnet(source, expr.CmpOpEq),
		inSubnet(destination, expr.CmpOpNeq),
		[]expr.Any{&expr.Masq{}},
	)
}
