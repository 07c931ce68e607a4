package bgp

import (
	"fmt"
	"net/netip"

	"netfabric/fabric"
)

// copyOf is a NIC of an instance of this member as one that answers for addresses of the family of like, or the reason why it can't.
func copyOf(v fabric.View, i *fabric.Instance, device string, like netip.Addr) (c fabric.Copy, reason, message string) {
	fact := v.Facts.Instances[i.Name]
	if fact.Status != fabric.InstanceRunning || fact.Process.PID == 0 {
		return c, fabric.ReasonInstanceStopped, fmt.Sprintf("instance %q does not run", i.Name)
	}
	for _, nic := range fact.NICs {
		if nic.Device != device {
			continue
		}
		if _, here := v.Facts.Networks[nic.Network]; !here {
			return c, fabric.ReasonNetworkDown, fmt.Sprintf("network %q is not there on this member", nic.Network)
		}
		via, ok := fabric.NIC{Addresses: nic.Addresses}.Address(like)
		if !ok {
			return c, fabric.ReasonNoAddress, fmt.Sprintf("NIC %q of instance %q has no %s address", device, i.Name, family(like))
		}
		return fabric.Copy{Instance: i.Name, Device: device, Link: nic.Link, Dev: nic.Bridge, Via: via, Process: fact.Process}, "", ""
	}
	return c, fabric.ReasonNoAddress, fmt.Sprintf("instance %q runs without NIC %q", i.Name, device)
}
