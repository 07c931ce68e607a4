// Package compute keeps this member's instances and images as desired, and says where a new instance goes.
package compute

import (
	"context"
	"io"
	"net/netip"
	"time"

	"netfabric/fabric"
)

// Runtime runs containers on this member. Containers are not its children: they outlive the daemon, and a new Runtime over the same directory
// finds them again. Every method ends when its context does, also when something below it hangs. Names are those of instances.
type Runtime interface {
	// Containers lists what was started here and not removed since, running or not.
	Containers(ctx context.Context) (map[string]Container, error)
	// Start starts a container that does not run. The error carries the end of the container's log; what was started half is gone then.
	Start(ctx context.Context, s Spec) error
	// Stop stops a container: it asks the guest first and kills it after grace, at once when grace is 0. Stopping what does not run is no
	// error.
	Stop(ctx context.Context, name string, grace time.Duration) error
	// Remove forgets a container that does not run with all its files, interfaces and cgroups, but not its root file system. Removing what
	// is not there is no error.
	Remove(ctx context.Context, name string) error
	// SetNetwork makes the addresses and routes inside a running container those of n, now and when the guest reboots itself. NICs are
	// matched by Inside; those that the container was started without are passed over.
	SetNetwork(ctx context.Context, name string, n Network) error
	// SetResources makes the limits of a running container those of x, now and when the guest reboots itself. Less memory than is in use is
	// refused with the reason "memory-in-use".
	SetResources(ctx context.Context, name string, x Resources) error
	// Exec runs a command in a running container with exactly the environment of r. A command killed by a signal has status 128 plus the
	// signal's number.
	Exec(ctx context.Context, name string, r fabric.ExecRequest) (status int, err error)
	// Log reads what the container's last start and its console had to say.
	Log(name string) (io.ReadCloser, error)
	// Changed is signalled when a container ended.
	Changed() <-chan struct{}
}

// ContainerState is how a container is.
type ContainerState string

// The states of a container.
const (
	ContainerStopped  ContainerState = "stopped"
	ContainerStarting ContainerState = "starting" // also between the two lives of a guest that reboots itself
	ContainerRunning  ContainerState = "running"
)

// Container is what a Runtime knows of a container.
type Container struct {
	State     ContainerState
	Process   fabric.Process // init, while it runs
	Boots     uint64         // Spec.Boots of its last start
	BootID    string         // of the kernel under which it was last started
	StartedAt time.Time
	Network   Network // as last set
	Resources Resources
}

// Spec is a container to start.
type Spec struct {
	Name        string
	Root        string // directory of its root file system, owned as IDs says
	IDs         IDMap  // zero: privileged
	Nesting     bool
	Resources   Resources
	Environment map[string]string
	Boots       uint64
	Network     Network
}

// Resources are the most that a container may use.
type Resources struct {
	Memory    int64 `json:"memory"`    // bytes, 0 for no limit
	Processes int   `json:"processes"` // 0 for no limit
}

// Network is what a container has of the network.
type Network struct {
	NICs     []NIC          `json:"nics"`
	Loopback []netip.Prefix `json:"loopback"` // addresses of anycast services, host prefixes
}

// NIC is a network interface of a container.
type NIC struct {
	Device    string         `json:"device"`
	Network   string         `json:"network"`
	Inside    string         `json:"inside"` // name in the container
	Link      string         `json:"link"`   // name on the member
	Bridge    string         `json:"bridge"` // on the member
	MAC       string         `json:"mac"`
	MTU       int            `json:"mtu"`
	Addresses []netip.Prefix `json:"addresses"` // with the length of the subnet
	Gateways  []netip.Addr   `json:"gateways"`  // default routes, at most one of each family
}

// Pools is where root file systems live. CreateVolume makes a volume completely or not at all; one that exists is a conflict with reason
// "volume-exists". DeleteVolume of what is not there is no error. Mount gives the directory of a volume.
type Pools interface {
	HasVolume(ctx context.Context, pool, volume string) (bool, error)
	CreateVolume(ctx context.Context, pool, volume string, fill func(ctx context.Context, root string) error) error
	DeleteVolume(ctx context.Context, pool, volume string) error
	Mount(ctx context.Context, pool, volume string) (root string, err error)
}

// Fetcher gets the files of an image from another member. The caller closes them.
type Fetcher interface {
	Fetch(ctx context.Context, member, fingerprint string) ([]fabric.ImageFile, error)
}
