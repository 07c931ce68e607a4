// Package bridge makes the bridge networks of the cluster exist on this member: bridges, gateway addresses, forwarding and masquerading.
package bridge

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"netfabric/fabric"
)

// Module is the fabric.Module "network". It works in the network namespace of the process.
//
// A bridge is ours when its alias says so, and only then is it changed or removed. Addresses on it that are as long as the family (/32, /128)
// belong to others, such as virtual routers; all others are gateways, set here.
type Module struct {
	log  *slog.Logger
	wake chan struct{}

	mu      sync.Mutex
	watched bool
}

// New makes the module.
func New(log *slog.Logger) *Module {
	return &Module{log: log, wake: make(chan struct{}, 1)}
}

// Name implements fabric.Module.
func (*Module) Name() string { return "network" }

// Wake is signalled when a link or an address of one of our bridges changed. The first Reconcile starts it.
func (m *Module) Wake() <-chan struct{} { return m.wake }

// Reconcile implements fabric.Module.
func (m *Module) Reconcile(ctx context.Context, v fabric.View) (fabric.Report, error) {
	if err := m.watch(); err != nil {
		return fabric.Report{}, err
	}
	k, err := openKernel()
	if err != nil {
		return fabric.Report{}, err
	}
	defer k.close()

	plans := plan(v.Desired, v.Member)
	report := fabric.Report{Facts: fabric.Facts{Networks: map[string]fabric.NetworkFact{}}}
	for _, p := range plans {
		condition := fabric.Condition{Object: fabric.Key{Kind: fabric.KindNetwork, Name: p.name}, Member: v.Member, Type: fabric.ConditionReady, OK: true, Observed: p.revision}
		there, err := k.ensureBridge(p)
		if there {
			report.Facts.Networks[p.name] = fabric.NetworkFact{Bridge: p.name, MTU: p.mtu}
		}
		if err != nil {
			condition.OK, condition.Reason, condition.Message = false, fabric.ReasonOf(err), err.Error()
		}
		report.Conditions = append(report.Conditions, condition)
	}
	errs := []error{ensureForwarding(plans, k), ensureMasquerade(masquerades(plans))}
	if v.Desired.Revision > 0 {
		errs = append(errs, m.prune(k, v.Desired))
	}
	return report, errors.Join(errs...)
}

// prune removes our bridges of networks that are no longer desired.
func (m *Module) prune(k *kernel, desired *fabric.Snapshot) error {
	ours, err := k.ours()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range ours {
		if _, ok := desired.Network(name); ok {
			continue
		}
		if err := k.remove(name); err != nil {
			errs = append(errs, err)
			continue
		}
		m.log.Info("removed bridge", "network", name)
	}
	return errors.Join(errs...)
}

// bridgePlan is a network as it should be on this member.
type bridgePlan struct {
	name     string
	revision uint64
	mac      net.HardwareAddr
	mtu      int
	gateways []netip.Prefix // address with the length of the subnet
	nat      []netip.Prefix // subnets to be masqueraded
	external []string       // interfaces of the member to have as ports
	routed   bool           // other members' parts of the network are reached by routes: the bridge answers for them (proxy ARP and NDP)
	remote6  []netip.Addr   // IPv6 addresses there
}

// plan is what this member should have.
func plan(s *fabric.Snapshot, member string) []bridgePlan {
	var plans []bridgePlan
	for _, n := range s.Networks() {
		if n.Type != fabric.NetworkBridge || n.Pending {
			continue
		}
		p := bridgePlan{name: n.Name, revision: n.Revision, mac: bridgeMAC(n.Name), mtu: n.MTU(), gateways: n.Subnets(), routed: s.Cluster().Meshed()}
		if n.NAT4() && n.Gateway4().IsValid() {
			p.nat = append(p.nat, n.Gateway4().Masked())
		}
		if n.NAT6() && n.Gateway6().IsValid() {
			p.nat = append(p.nat, n.Gateway6().Masked())
		}
		for field := range strings.SplitSeq(n.MemberConfig[member]["bridge.external_interfaces"], ",") {
			if field = strings.TrimSpace(field); field != "" {
				p.external = append(p.external, field)
			}
		}
		plans = append(plans, p)
	}
	remote(plans, s, member)
	return plans
}

// remote puts the IPv6 addresses of instances that run on other members into the plans of their networks. For IPv4 the kernel's routes say who is elsewhere.
func remote(plans []bridgePlan, s *fabric.Snapshot, member string) {
	if !s.Cluster().Meshed() {
		return
	}
	by := map[string][]netip.Addr{}
	for _, i := range s.Instances() {
		if i.Member == member || i.Member == "" || i.Power != fabric.PowerRunning {
			continue
		}
		for _, nic := range i.NICs {
			for _, a := range nic.Addresses {
				if a.Is6() {
					by[nic.Network] = append(by[nic.Network], a)
				}
			}
		}
	}
	for n := range plans {
		plans[n].remote6 = by[plans[n].name]
		slices.SortFunc(plans[n].remote6, netip.Addr.Compare)
	}
}

// masquerades lists the subnets of all networks with NAT.
func masquerades(plans []bridgePlan) []netip.Prefix {
	var all []netip.Prefix
	for _, p := range plans {
		all = append(all, p.nat...)
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return all
}

// bridgeMAC is made from the network's name, so that the gateway has the same MAC on every member. It is locally administered and unicast.
func bridgeMAC(network string) net.HardwareAddr {
	sum := sha256.Sum256([]byte("fabric network " + network))
	mac := net.HardwareAddr(sum[:6])
	mac[0] = mac[0]&^3 | 2
	return mac
}

// addressDiff tells what to add to, and then to take from, the addresses that are there.
func addressDiff(have, want []netip.Prefix) (add, remove []netip.Prefix) {
	for _, p := range want {
		if !slices.Contains(have, p) {
			add = append(add, p)
		}
	}
	for _, p := range have {
		if !slices.Contains(want, p) && !p.IsSingleIP() && !p.Addr().IsLinkLocalUnicast() {
			remove = append(remove, p)
		}
	}
	return add, remove
}

const (
	aliasPrefix    = "fabric network "
	externalPrefix = "fabric external of "
)

func foreignInterface(name string) error {
	return fabric.Conflictf("interface-foreign", "network %q: this member already has an interface of that name, which is not ours", name).
		WithFix("remove it with \"ip link delete %s\", or give the network another name", name)
}

func externalError(network, port, why string) *fabric.Error {
	return fabric.Errorf(fabric.CodeUnavailable, "external-unusable", "network %q: external interface %q %s", network, port, why)
}

func wrap(network, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("network %q: %s: %w", network, what, err)
}
