package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"netfabric/fabric"
)

// announceAnycast offers the addresses of the services that have copies on this member.
func announceAnycast(v fabric.View) (o offer) {
	members := map[string][]*fabric.Instance{} // instances here, by service
	for _, i := range v.Desired.Instances() {
		if i.Member != v.Member && v.Facts.Instances[i.Name].Status != fabric.InstanceRunning {
			continue
		}
		config, _ := i.Expanded(v.Desired)
		services := config.AnycastServices()
		slices.Sort(services)
		for _, service := range slices.Compact(services) {
			members[service] = append(members[service], i)
		}
	}
	for _, service := range v.Desired.Anycasts() {
		for _, p := range service.Addresses {
			o.service(v, service, p, members[service.Name])
		}
	}
	return o
}

// service offers one address of a service that the given instances are copies of.
func (o *offer) service(v fabric.View, service *fabric.Anycast, p netip.Prefix, instances []*fabric.Instance) {
	var copies []fabric.Copy
	reason, messages := fabric.ReasonNoCopy, []string{"no instance on this member is a copy of the service"}
	for n, i := range instances {
		c, why, message := anycastCopy(v, i, p.Addr())
		if why == "" {
			c.Check = check(service)
			config, _ := i.Expanded(v.Desired)
			c.Weight = config.AnycastWeight()
			c.Drain, c.Linger = drain(v, i)
			copies = append(copies, c)
			continue
		}
		if n == 0 {
			reason, messages = why, nil
		}
		messages = append(messages, message)
	}
	owner := fabric.KeyOf(service)
	if len(copies) == 0 {
		o.refuse(p, fabric.AnnounceAnycast, owner, reason, "%s", strings.Join(messages, "; "))
		return
	}
	o.announce(fabric.Announcement{Prefix: p, Kind: fabric.AnnounceAnycast, Owner: owner, Copies: copies, Route: true, Keep: keep(v, service, p)})
}

// drain tells why a copy that runs is not to be used any more, and for how many milliseconds what is under way is still brought to it. What is
// wanted counts, not what is: the withdraw comes before the stop.
func drain(v fabric.View, i *fabric.Instance) (reason string, linger int) {
	config, _ := i.Expanded(v.Desired)
	switch {
	case i.Deleting, i.Power != fabric.PowerRunning, i.Member != v.Member, v.Facts.Instances[i.Name].Boots < i.Boots:
		reason = fabric.ReasonDraining
	case fabric.ParseBool(fabric.InstanceKeys.Get(config, "anycast.maintenance")):
		reason = fabric.ReasonMaintenance
	default:
		return "", 0
	}
	return reason, int(config.AnycastDrain() / time.Millisecond)
}

// keep is the number of copies that have to answer here even if their checks fail, so that the service has as many as it needs. Healthy ones
// elsewhere are those that their members report; of a member that is offline nothing is believed.
func keep(v fabric.View, service *fabric.Anycast, p netip.Prefix) int {
	if service.MinHealthy == 0 {
		return 0
	}
	elsewhere := 0
	for _, c := range v.Reports.Of(fabric.KeyOf(service)) {
		if c.Type != fabric.ConditionRoutes || c.Member == v.Member || slices.Contains(v.Offline, c.Member) {
			continue
		}
		for _, route := range fabric.JSON[[]fabric.RouteState](c.Data) {
			for _, state := range route.Copies {
				if route.Prefix == p && route.Up && state.Healthy {
					elsewhere++
				}
			}
		}
	}
	return max(0, service.MinHealthy-elsewhere)
}

// anycastCopy is the first NIC of an instance, in the order of devices, that can answer for an address.
func anycastCopy(v fabric.View, i *fabric.Instance, address netip.Addr) (c fabric.Copy, reason, message string) {
	reason, message = fabric.ReasonNoAddress, fmt.Sprintf("instance %q has no NIC", i.Name)
	for _, nic := range i.NICs {
		if c, reason, message = copyOf(v, i, nic.Device, address); reason == "" {
			break
		}
	}
	return c, reason, message
}

// check is what the worker has to check of a copy, beyond what it watches of every copy; nil is nothing.
func check(service *fabric.Anycast) *fabric.Check {
	c := service.Check.Default()
	if c.Type == fabric.CheckProcess {
		return nil
	}
	return &c
}
