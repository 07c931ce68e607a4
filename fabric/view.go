package fabric

import (
	"context"
	"encoding/json"
	"net/netip"
	"time"
)

// View is all that a reconciler may base its work on. It never changes.
type View struct {
	Member  string    // this member
	Desired *Snapshot // newest known; without quorum, the last good one
	Since   time.Time // when the member saw that Desired is there; zero where nobody looked
	Reports *Reports  // what all members say
	Offline []string  // members that show no sign of life, sorted: what Reports has of them is old
	Facts   Facts     // what is true here
}

// Facts is what the reconcilers of this member have found or made. Each module sets its own fields; nil means not known yet.
type Facts struct {
	Pools     map[string]PoolFact     // by pool: set by storage
	Networks  map[string]NetworkFact  // by network: set by bridge
	Instances map[string]InstanceFact // by instance: set by compute
	Routing   *RoutingState           // set by routing
}

// Merge returns the facts with those fields of f that are set in place of its own.
func (f Facts) Merge(news Facts) Facts {
	if news.Pools != nil {
		f.Pools = news.Pools
	}
	if news.Networks != nil {
		f.Networks = news.Networks
	}
	if news.Instances != nil {
		f.Instances = news.Instances
	}
	if news.Routing != nil {
		f.Routing = news.Routing
	}
	return f
}

// PoolFact is a pool that can be used on this member.
type PoolFact struct {
	Driver string
	Source string // where it is, in the driver's terms
}

// NetworkFact is a network that NICs can be plugged into on this member.
type NetworkFact struct {
	Bridge string // interface
	MTU    int    // bytes
}

// InstanceStatus is how an instance is, in LXD's words.
type InstanceStatus string

// The states of an instance. Other members see InstanceError where the member could not make the instance what was asked.
const (
	InstanceStopped  InstanceStatus = "Stopped"
	InstanceStarting InstanceStatus = "Starting"
	InstanceRunning  InstanceStatus = "Running"
	InstanceStopping InstanceStatus = "Stopping"
	InstanceError    InstanceStatus = "Error"
)

// InstanceFact is an instance that is on this member's disk.
type InstanceFact struct {
	Status  InstanceStatus
	Process Process // its init, while it runs
	Boots   uint64  // Instance.Boots that it was last started for
	NICs    []NICFact
}

// NICFact is a NIC of a running instance.
type NICFact struct {
	Device    string       `json:"device"`
	Network   string       `json:"network"`
	Link      string       `json:"link"`   // interface on the member
	Bridge    string       `json:"bridge"` // interface on the member that Link is in
	Inside    string       `json:"inside"` // interface in the instance
	MAC       string       `json:"mac"`
	Addresses []netip.Addr `json:"addresses"`
}

// Process identifies a process for good: a pid alone may be given away again.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, field 22 of proc_pid_stat(5)
}

// InstanceState is the data of a ConditionInstance.
type InstanceState struct {
	Status    InstanceStatus `json:"status"`
	PID       int            `json:"pid,omitempty"`
	Boots     uint64         `json:"boots"`
	StartedAt time.Time      `json:"started_at,omitzero"`
	NICs      []NICFact      `json:"nics,omitempty"`
	Root      bool           `json:"root"` // its root disk exists
}

// Module makes one side of a member match what is desired. It is given the whole view and no hint of what changed, again and again: a repeat
// must be cheap and change nothing. What it can't find out or do yet it leaves as it is; it removes only what it owns and what is no longer
// desired.
type Module interface {
	// Name is a short word for logs and conditions.
	Name() string
	// Reconcile brings the member as near to the view as it can and returns when it has. An error makes the agent call again after a
	// back-off; the report counts all the same.
	Reconcile(ctx context.Context, v View) (Report, error)
	// Wake signals that something happened here that the view does not tell. It may be nil.
	Wake() <-chan struct{}
}

// Report is what a module found. The agent keeps the newest of each module.
type Report struct {
	Facts      Facts         // only the module's own fields
	Conditions []Condition   // all that the module has to say; Member, and Since where it has not changed, are filled in by the agent
	Released   []Key         // objects with a deletion mark of which nothing is left on this member: the agent removes them from the database
	Again      time.Duration // call again after this even when nothing changes; 0 is the agent's period
}

// JSON reads the data of a condition into a value of its type, the zero value where there is none.
func JSON[T any](data json.RawMessage) T {
	var v T
	if len(data) > 0 {
		if err := json.Unmarshal(data, &v); err != nil {
			var zero T
			return zero
		}
	}
	return v
}
