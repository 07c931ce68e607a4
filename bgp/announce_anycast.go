package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"netfabric/fabric"
)

// announceAnycast offers the addresses of the services that have copies on this member.
func announceAnycast(v fabric.View) (o offer) {
	members := map[string][]*fabric.Instance{} // instances here, by service
	for _, i := range v.Desired.Instances() {
		if i.Member != v.Member {
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
	o.announce(fabric.Announcement{Prefix: p, Kind: fabric.AnnounceAnycast, Owner: owner, Copies: copies, Route: true})
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
