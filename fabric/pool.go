package fabric

// Pool is storage under one name on every member.
type Pool struct {
	Header
	Driver       string            `json:"driver"`
	Description  string            `json:"description,omitempty"`
	Config       Config            `json:"config"`
	MemberConfig map[string]Config `json:"member_config,omitempty"` // keys of scope member, by member
	Pending      bool              `json:"pending,omitempty"`       // defined for single members with a target, not created yet
}

// PoolKeys are the config keys of pools by driver. A driver that is not here does not exist.
var PoolKeys = map[string]KeyTable{
	"dir": {
		{"source", String, "", ScopeMember, "Directory in which the pool lives; by default one below the daemon's own"},
		{"user.*", Text, "", ScopeGlobal, "Free for your own use"},
	},
}

// Kind is KindPool.
func (*Pool) Kind() Kind { return KindPool }

// Validate checks name, driver and config.
func (p *Pool) Validate() error {
	if err := CheckName("storage pool", p.Name); err != nil {
		return err
	}
	keys, ok := PoolKeys[p.Driver]
	if !ok {
		return Errorf(CodeNotSupported, "storage-driver", "storage pool %q: driver %q is not supported", p.Name, p.Driver).WithFix("use driver dir")
	}
	if err := keys.Check("storage pool "+p.Name, p.Config); err != nil {
		return err
	}
	for member, config := range p.MemberConfig {
		if err := keys.CheckMember("storage pool "+p.Name+" on "+member, config); err != nil {
			return err
		}
	}
	return nil
}

// Refs names the members that have their own config.
func (p *Pool) Refs() []Key { return memberRefs(p.MemberConfig) }

// Claims is empty.
func (*Pool) Claims() []Claim { return nil }

// On is the config of the pool on one member.
func (p *Pool) On(member string) Config {
	merged := Config{}
	for _, c := range []Config{p.Config, p.MemberConfig[member]} {
		for k, v := range c {
			merged[k] = v
		}
	}
	return merged
}
