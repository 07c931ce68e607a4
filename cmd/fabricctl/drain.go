package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"netfabric/fabric"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

// drainPoll is how often the routes of a member that is being drained are looked at.
const drainPoll = 100 * time.Millisecond

func (a *app) bgpDrain() *cobra.Command {
	cmd := &cobra.Command{
		Use: "drain MEMBER", Short: "Lead traffic away from a member, before work on it",
		Long: `Lead traffic away from a member, before work on it. Its peers are told of everything once more with the community GRACEFUL_SHUTDOWN (65535:0,
RFC 8326), or with a longer path (bgp.drain_mode=prepend), so that they prefer other members. Everything is withdrawn when all peers have
acknowledged that, bgp.drain_grace seconds have passed, and no packets arrive any more for what runs here, or after bgp.drain_timeout seconds. The
member goes on forwarding what still arrives, and its instances run on. Gateways that are with it are handed over without loss, and come back to it only where no other member can be
Active. It stays drained, also over a restart, until "fabricctl bgp undrain".

The command waits until no peer has a route through the member and no gateway is with it that another can have, or until --timeout; the drain goes on all the same.`,
		Example: "  fabricctl bgp drain n2\n  fabricctl bgp drain n2 --timeout 1m", ValidArgsFunction: a.complete(members),
	}
	timeout := cmd.Flags().Duration("timeout", 30*time.Second, "`TIME` to wait for")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.setDrained(cmd.Context(), args[0], "true"); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		for {
			left, err := a.announcedBy(ctx, args[0])
			var movable, staying []string
			if err == nil {
				movable, staying, err = a.gatewaysWith(ctx, args[0])
			}
			switch {
			case ctx.Err() != nil && cmd.Context().Err() == nil && left == 0 && len(movable) > 0:
				return fmt.Errorf("member %s is to be drained, but after %s gateways are still with it (%s): see \"fabricctl gateway list\"", args[0], *timeout, strings.Join(movable, ", "))
			case ctx.Err() != nil && cmd.Context().Err() == nil:
				return fmt.Errorf("member %s is to be drained, but after %s peers still have routes through it: see \"fabricctl route list\"", args[0], *timeout)
			case err != nil:
				return err
			case left == 0 && len(movable) == 0:
				for _, g := range staying {
					a.say("Gateway %s stays with %s: no other member can be Active", g, args[0])
				}
				a.say("Member %s drained", args[0])
				return nil
			}
			select {
			case <-ctx.Done():
			case <-time.After(drainPoll):
			}
		}
	}
	return cmd
}

func (a *app) bgpUndrain() *cobra.Command {
	return &cobra.Command{
		Use: "undrain MEMBER", Short: "Have a drained member announce again",
		Example: "  fabricctl bgp undrain n2", ValidArgsFunction: a.complete(members),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.setDrained(cmd.Context(), args[0], ""); err != nil {
				return err
			}
			a.say("Member %s announces again", args[0])
			return nil
		},
	}
}

// setDrained sets a member's key bgp.drained, or unsets it.
func (a *app) setDrained(ctx context.Context, member, value string) error {
	m, etag, err := a.client().GetMember(ctx, member)
	if err != nil {
		return err
	}
	put := m.ClusterMemberPut
	if put.Config == nil {
		put.Config = incusapi.ConfigMap{}
	}
	if put.Config["bgp.drained"] = value; value == "" {
		delete(put.Config, "bgp.drained")
	}
	return a.client().UpdateMember(ctx, member, put, etag)
}

// gatewaysWith are the gateways that a member is Active for: those that another member that is not drained can have, and those that none can.
func (a *app) gatewaysWith(ctx context.Context, member string) (movable, staying []string, err error) {
	all, err := a.client().GetGateways(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, g := range all {
		active, successor := false, false
		for _, m := range g.States {
			if m.Member == member {
				active = slices.ContainsFunc(m.Routers, func(r fabric.VirtualRouterState) bool { return r.State == fabric.GatewayActive })
			} else if !m.Stale && m.Reason == "" && !m.Drained {
				successor = true
			}
		}
		switch {
		case active && successor:
			movable = append(movable, g.Name)
		case active:
			staying = append(staying, g.Name)
		}
	}
	return movable, staying, nil
}

// announcedBy counts the prefixes of a member of which peers have been told.
func (a *app) announcedBy(ctx context.Context, member string) (int, error) {
	routes, err := a.client().GetRoutes(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, r := range routes {
		if r.Member != member || r.Stale {
			continue
		}
		for _, p := range r.Peers {
			if p.Announced {
				n++
				break
			}
		}
	}
	return n, nil
}
