package api

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// condition is what an instance's member says of it. That of an offline member is its last word, shown as an error in the dialect.
func condition(r *request, reports *fabric.Reports, i *fabric.Instance) fabric.Condition {
	c, _ := reports.Get(instanceKey(i.Name), i.Member, fabric.ConditionInstance)
	if offline(r.status, i.Member) {
		state := fabric.InstanceState{Status: fabric.InstanceError}
		return fabric.Condition{Observed: c.Observed, Reason: "member-offline", Message: "member " + i.Member + " is offline"}.WithData(state)
	}
	return c
}

// instanceStatus is the state of an instance as far as it is known: stopped where nothing is.
func (s *Server) instanceStatus(r *request, i *fabric.Instance) fabric.InstanceStatus {
	return status(fabric.JSON[fabric.InstanceState](condition(r, s.Reports(), i).Data))
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

// instanceCache keeps the JSON of instances: most of the work of a list is to make it. Objects in snapshots never change, so an entry is good
// as long as it was made from the very same ones.
type instanceCache struct {
	mu      sync.Mutex
	entries map[string]*cachedInstance
}

type cachedInstance struct {
	instance *fabric.Instance
	profiles []*fabric.Profile
	networks []*fabric.Network // of its NICs: their lengths are shown in the state
	status   fabric.Condition
	short    json.RawMessage
	full     json.RawMessage
}

// json is an instance, with full its state too.
func (c *instanceCache) json(r *request, reports *fabric.Reports, i *fabric.Instance, full bool) json.RawMessage {
	now := cachedInstance{instance: i, status: condition(r, reports, i)}
	for _, name := range i.Profiles {
		p, _ := r.snap.Profile(name)
		now.profiles = append(now.profiles, p)
	}
	for _, nic := range i.NICs {
		n, _ := r.snap.Network(nic.Network)
		now.networks = append(now.networks, n)
	}
	c.mu.Lock()
	e := c.entries[i.Name]
	if e == nil || !e.same(&now) {
		if c.entries == nil || len(c.entries) > 2*r.snap.Len(fabric.KindInstance)+16 { // drop those of instances that are gone
			c.entries = map[string]*cachedInstance{}
		}
		e = &now
		c.entries[i.Name] = e
	}
	data := e.short
	if full {
		data = e.full
	}
	c.mu.Unlock()
	if data != nil {
		return data
	}
	data = encodeInstance(r.snap, i, now.status, full)
	c.mu.Lock()
	if full {
		e.full = data
	} else {
		e.short = data
	}
	c.mu.Unlock()
	return data
}

func (e *cachedInstance) same(o *cachedInstance) bool {
	return e.instance == o.instance && slices.Equal(e.profiles, o.profiles) && slices.Equal(e.networks, o.networks) &&
		bytes.Equal(e.status.Data, o.status.Data)
}

func encodeInstance(snap *fabric.Snapshot, i *fabric.Instance, c fabric.Condition, full bool) json.RawMessage {
	var shown any = showInstance(snap, i, c)
	if full {
		state := showInstanceState(snap, c)
		shown = incusapi.InstanceFull{Instance: showInstance(snap, i, c), State: &state, Backups: []incusapi.InstanceBackup{}, Snapshots: []incusapi.InstanceSnapshot{}}
	}
	data, err := json.Marshal(shown)
	if err != nil {
		panic(err) // plain structs of strings and numbers
	}
	return data
}
