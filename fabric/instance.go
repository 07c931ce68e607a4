package fabric

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Power is what the operator wants an instance to do.
type Power string

// The powers of an instance.
const (
	PowerStopped Power = "stopped"
	PowerRunning Power = "running"
)

// Profile is a set of config and devices that instances share.
type Profile struct {
	Header
	Description string  `json:"description,omitempty"`
	Config      Config  `json:"config"`
	Devices     Devices `json:"devices"`
}

// Kind is KindProfile.
func (*Profile) Kind() Kind { return KindProfile }

// Validate checks name, config and devices.
func (p *Profile) Validate() error {
	if err := CheckName("profile", p.Name); err != nil {
		return err
	}
	if err := InstanceKeys.Check("profile "+p.Name, p.Config); err != nil {
		return err
	}
	return checkDevices("profile "+p.Name, p.Devices)
}

// Refs names what the config and the devices use.
func (p *Profile) Refs() []Key { return deviceRefs(p.Config, p.Devices) }

// Claims is empty.
func (*Profile) Claims() []Claim { return nil }

// Instance is a container somewhere in the cluster.
type Instance struct {
	Header
	Type         string   `json:"type"` // "container"
	Architecture string   `json:"architecture"`
	Description  string   `json:"description,omitempty"`
	Profiles     []string `json:"profiles"`
	Config       Config   `json:"config"`  // its own, without the profiles'
	Devices      Devices  `json:"devices"` // its own, without the profiles'
	Ephemeral    bool     `json:"ephemeral,omitempty"`

	Member string `json:"member"` // where it lives
	Pool   string `json:"pool"`   // of its root disk
	Image  string `json:"image"`  // fingerprint it was made from; the image may be gone since
	NICs   []NIC  `json:"nics"`   // what the network devices were given, see Tx.ResolveNICs

	Power    Power  `json:"power"`
	Boots    uint64 `json:"boots"`              // goes up with each start or restart that was asked for: a running instance that has an older one is restarted
	Force    bool   `json:"force,omitempty"`    // stop without asking the guest
	Timeout  int    `json:"timeout,omitempty"`  // seconds the guest has to stop by itself before it is killed; 0 is the default, see StopTimeout
	Deleting bool   `json:"deleting,omitempty"` // wanted gone: its member removes it, then the object; until then it keeps its claims
}

// NIC is what a network device of an instance was given for its life.
type NIC struct {
	Device    string       `json:"device"`
	Network   string       `json:"network"`
	MAC       string       `json:"mac"`
	Addresses []netip.Addr `json:"addresses"` // at most one of each family
}

// Address is the NIC's address of the family of like; ok tells whether it has one.
func (n NIC) Address(like netip.Addr) (a netip.Addr, ok bool) {
	for _, a := range n.Addresses {
		if a.Is4() == like.Is4() {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// InstanceKeys are the config keys of instances and profiles.
var InstanceKeys = KeyTable{
	{"anycast", String, "", ScopeGlobal, "Comma-separated anycast services of which the instance is a copy"},
	{"anycast.drain", Integer(0, 60000), "500", ScopeGlobal, "Milliseconds between the withdraw of an anycast copy and its stop, for what is under way"},
	{"anycast.maintenance", Bool, "false", ScopeGlobal, "Withdraw the anycast services of which the instance is a copy, while it runs on"},
	{"anycast.weight", Integer(1, MaxWeight), "1", ScopeGlobal, "How much traffic a copy is to have, compared with other copies; what peers are told of it is the service's weight"},
	{"boot.autostart", Bool, "true", ScopeGlobal, "Start again what was running when the member went down"},
	{"boot.host_shutdown_timeout", Integer(0, 3600), "10", ScopeGlobal, "Seconds the guest has to stop by itself before it is killed"},
	{"environment.*", Text, "", ScopeGlobal, "Environment variable of the instance's init and of exec"},
	{"image.*", Text, "", ScopeGlobal, "Property copied from the image"},
	{"limits.memory", ValueType{"size", checkSize}, "", ScopeGlobal, "Memory the instance may use, such as 512MiB"},
	{"limits.processes", Integer(1, 1<<22), "", ScopeGlobal, "Processes the instance may have"},
	{"security.nesting", Bool, "false", ScopeGlobal, "Allow containers inside"},
	{"security.privileged", Bool, "false", ScopeGlobal, "Run without an id map: root inside is root outside"},
	{"user.*", Text, "", ScopeGlobal, "Free for your own use"},
}

// DeviceKeys are the config keys of devices by their type. A type that is not here does not exist.
var DeviceKeys = map[string]KeyTable{
	"nic": {
		{"type", OneOf("nic"), "", ScopeGlobal, "Sort of device"},
		{"network", String, "", ScopeGlobal, "Network that the NIC is plugged into"},
		{"nictype", OneOf("bridged"), "bridged", ScopeGlobal, "How it is plugged in"},
		{"name", String, "", ScopeGlobal, "Interface name inside; by default the device's name"},
		{"hwaddr", ValueType{"MAC address", checkMAC}, "", ScopeGlobal, "MAC address; by default a free one is chosen"},
		{"ipv4.address", Or(Addr4, "none"), "", ScopeGlobal, "IPv4 address; by default a free one of the network is claimed"},
		{"ipv6.address", Or(Addr6, "none"), "", ScopeGlobal, "IPv6 address; by default a free one of the network is claimed"},
		{"ipv4.routes.external", Prefixes4, "", ScopeGlobal, "Comma-separated IPv4 prefixes routed to the NIC and announced by BGP"},
		{"ipv6.routes.external", Prefixes6, "", ScopeGlobal, "Comma-separated IPv6 prefixes routed to the NIC and announced by BGP"},
	},
	"disk": {
		{"type", OneOf("disk"), "", ScopeGlobal, "Sort of device"},
		{"path", OneOf("/"), "", ScopeGlobal, "Where the disk is mounted; only the root disk is supported"},
		{"pool", String, "", ScopeGlobal, "Storage pool of the disk"},
	},
	"none": {{"type", OneOf("none"), "", ScopeGlobal, "Hides a device of a profile"}},
}

// Kind is KindInstance.
func (*Instance) Kind() Kind { return KindInstance }

// Validate checks name, config and devices.
func (i *Instance) Validate() error {
	if err := CheckHostname("instance", i.Name); err != nil {
		return err
	}
	if i.Type != "container" {
		return Errorf(CodeNotSupported, "instance-type", "instance %q: type %q is not supported", i.Name, i.Type).WithFix("leave out the type, or use container")
	}
	if i.Power != PowerRunning && i.Power != PowerStopped {
		return Invalidf("bad-value", "instance %q: power %q is neither running nor stopped", i.Name, i.Power)
	}
	if err := InstanceKeys.Check("instance "+i.Name, i.Config); err != nil {
		return err
	}
	return checkDevices("instance "+i.Name, i.Devices)
}

// Refs names member, pool, profiles and what the devices use, but not the image: it may go once the instance exists.
func (i *Instance) Refs() []Key {
	refs := append([]Key{{KindMember, i.Member}, {KindPool, i.Pool}}, deviceRefs(i.Config, i.Devices)...)
	for _, p := range i.Profiles {
		refs = append(refs, Key{KindProfile, p})
	}
	for _, nic := range i.NICs {
		refs = append(refs, Key{KindNetwork, nic.Network})
	}
	return refs
}

// Claims holds addresses and MACs.
func (i *Instance) Claims() []Claim {
	var claims []Claim
	for _, nic := range i.NICs {
		claims = append(claims, Claim{"mac", nic.MAC})
		for _, a := range nic.Addresses {
			claims = append(claims, AddressClaim(nic.Network, a))
		}
	}
	return claims
}

// Expanded is the config and the devices of the instance with those of its profiles below, later profiles over earlier ones.
func (i *Instance) Expanded(s *Snapshot) (Config, Devices) {
	config, devices := Config{}, Devices{}
	add := func(c Config, d Devices) {
		for k, v := range c {
			config[k] = v
		}
		for name, device := range d {
			devices[name] = device
		}
	}
	for _, name := range i.Profiles {
		if p, ok := s.Profile(name); ok {
			add(p.Config, p.Devices)
		}
	}
	add(i.Config, i.Devices)
	for name, d := range devices {
		if d["type"] == "none" {
			delete(devices, name)
		}
	}
	return config, devices
}

// AnycastServices are the services of which an instance with this expanded config is a copy.
func (c Config) AnycastServices() []string { return splitList(c["anycast"]) }

// AnycastDrain is how long what is under way is still brought to a copy after its withdraw.
func (c Config) AnycastDrain() time.Duration {
	ms, _ := strconv.Atoi(InstanceKeys.Get(c, "anycast.drain"))
	return time.Duration(ms) * time.Millisecond
}

func splitList(v string) []string {
	var all []string
	for field := range strings.SplitSeq(v, ",") {
		if field = strings.TrimSpace(field); field != "" {
			all = append(all, field)
		}
	}
	return all
}

func deviceRefs(config Config, devices Devices) []Key {
	var refs []Key
	for _, service := range config.AnycastServices() {
		refs = append(refs, Key{KindAnycast, service})
	}
	for _, d := range devices {
		switch {
		case d["type"] == "nic" && d["network"] != "":
			refs = append(refs, Key{KindNetwork, d["network"]})
		case d["type"] == "disk" && d["pool"] != "":
			refs = append(refs, Key{KindPool, d["pool"]})
		}
	}
	return refs
}

func checkDevices(what string, devices Devices) error {
	for name, d := range devices {
		if err := CheckName(what+": device", name); err != nil {
			return err
		}
		keys, ok := DeviceKeys[d["type"]]
		if !ok {
			return Errorf(CodeNotSupported, "device-type", "%s: device %q has type %q, which is not supported", what, name, d["type"]).WithFix("use type nic or disk")
		}
		if err := keys.Check(what+": device "+name, d); err != nil {
			return err
		}
		switch d["type"] {
		case "nic":
			if d["network"] == "" {
				return Invalidf("missing-key", "%s: NIC %q names no network", what, name).WithFix("set network=NAME")
			}
			if err := CheckInterface(what+": NIC", keys.inside(name, d)); err != nil {
				return err
			}
		case "disk":
			if d["path"] == "" || d["pool"] == "" {
				return Invalidf("missing-key", "%s: disk %q needs path=/ and pool=NAME", what, name)
			}
		}
	}
	return nil
}

// inside is the interface name of a NIC inside its instance.
func (t KeyTable) inside(device string, d Config) string {
	if n := t.Get(d, "name"); n != "" {
		return n
	}
	return device
}

// InsideName is the interface name of a NIC device inside its instance.
func InsideName(device string, d Config) string { return DeviceKeys["nic"].inside(device, d) }
