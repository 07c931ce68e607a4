package api

import (
	"encoding/json"
	"maps"
	"strconv"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// condition is what an instance's member says of it. That of an offline member is its last word, shown as an error in the dialect.
func condition(r *request, i *fabric.Instance) fabric.Condition {
	c, _ := r.reports().Get(instanceKey(i.Name), i.Member, fabric.ConditionInstance)
	if offline(r.status, i.Member) {
		state := fabric.InstanceState{Status: fabric.InstanceError}
		return fabric.Condition{Observed: c.Observed, Reason: "member-offline", Message: "member " + i.Member + " is offline"}.WithData(state)
	}
	return c
}

// instanceStatus is the state of an instance as far as it is known: stopped where nothing is.
func instanceStatus(r *request, i *fabric.Instance) fabric.InstanceStatus {
	return status(fabric.JSON[fabric.InstanceState](condition(r, i).Data))
}

func status(state fabric.InstanceState) fabric.InstanceStatus {
	if state.Status == "" {
		return fabric.InstanceStopped
	}
	return state.Status
}

// volatile are the config keys of an instance that the system gives it.
func volatile(i *fabric.Instance) fabric.Config {
	v := fabric.Config{"volatile.base_image": i.Image}
	for _, nic := range i.NICs {
		v["volatile."+nic.Device+".hwaddr"] = nic.MAC
	}
	return v
}

func showInstance(snap *fabric.Snapshot, i *fabric.Instance, c fabric.Condition) incusapi.Instance {
	config, devices := i.Expanded(snap)
	maps.Copy(config, volatile(i))
	state := fabric.JSON[fabric.InstanceState](c.Data)
	return incusapi.Instance{
		InstancePut: instancePut(i), Name: i.Name, CreatedAt: i.Created, LastUsedAt: state.StartedAt,
		ExpandedConfig: incusapi.ConfigMap(clean(config)), ExpandedDevices: showDevices(devices),
		Status: string(status(state)), StatusCode: statusCode(state), Location: i.Member, Type: i.Type, Project: "default",
	}
}

func statusCode(state fabric.InstanceState) incusapi.StatusCode {
	return incusapi.StatusCodeFromString(string(status(state)))
}

// showInstanceState is how an instance is. What is not measured is zero, and -1 processes.
func showInstanceState(snap *fabric.Snapshot, c fabric.Condition) incusapi.InstanceState {
	state := fabric.JSON[fabric.InstanceState](c.Data)
	shown := incusapi.InstanceState{
		Status: string(status(state)), StatusCode: statusCode(state), Pid: int64(state.PID), StartedAt: state.StartedAt, Processes: -1,
		Disk: map[string]incusapi.InstanceStateDisk{}, Network: map[string]incusapi.InstanceStateNetwork{},
	}
	for _, nic := range state.NICs {
		n := incusapi.InstanceStateNetwork{
			Addresses: []incusapi.InstanceStateNetworkAddress{}, Hwaddr: nic.MAC, HostName: nic.Link, State: "up", Type: "broadcast",
		}
		network, known := snap.Network(nic.Network)
		if known {
			n.Mtu = network.MTU()
		}
		for _, a := range nic.Addresses {
			bits := a.BitLen()
			if known {
				if subnet := network.Gateway4(); a.Is4() && subnet.IsValid() {
					bits = subnet.Bits()
				} else if subnet := network.Gateway6(); a.Is6() && subnet.IsValid() {
					bits = subnet.Bits()
				}
			}
			n.Addresses = append(n.Addresses, incusapi.InstanceStateNetworkAddress{
				Family: family(a), Address: a.String(), Netmask: strconv.Itoa(bits), Scope: "global",
			})
		}
		shown.Network[nic.Inside] = n
	}
	return shown
}

// InstanceFull is an instance with its state and, beside what LXD has, what is the matter with it.
type InstanceFull struct {
	incusapi.InstanceFull
	Reason  string `json:"reason,omitempty"`  // a stable word for what is in the way
	Message string `json:"message,omitempty"` // the same in words, or what is still to come, such as a restart that a change needs
}

func encodeInstance(snap *fabric.Snapshot, i *fabric.Instance, c fabric.Condition, full bool) json.RawMessage {
	var shown any = showInstance(snap, i, c)
	if full {
		state := showInstanceState(snap, c)
		full := incusapi.InstanceFull{Instance: showInstance(snap, i, c), State: &state, Backups: []incusapi.InstanceBackup{}, Snapshots: []incusapi.InstanceSnapshot{}}
		shown = InstanceFull{InstanceFull: full, Reason: c.Reason, Message: c.Message}
	}
	data, err := json.Marshal(shown)
	if err != nil {
		panic(err) // plain structs of strings and numbers
	}
	return data
}
