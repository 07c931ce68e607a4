package compute

import (
	"slices"
	"time"

	"netfabric/fabric"
)

// step is one thing to do with an instance. Each is repeated safely after a crash.
type step string

const (
	stepNone    step = ""
	stepCreate  step = "create"  // make its root volume
	stepStart   step = "start"   //
	stepStop    step = "stop"    //
	stepRemove  step = "remove"  // everything of it on this member
	stepNetwork step = "network" // addresses inside, while it runs
	stepLimit   step = "limit"   // what it may use, while it runs
)

// situation is all that the next step for an instance depends on.
type situation struct {
	name       string
	instance   *fabric.Instance // nil: not desired
	member     string           // this one
	outsider   bool             // this member has been removed from the cluster
	autostart  bool
	record     *record // nil: no volume here
	container  Container
	known      bool // the runtime knows it
	bootID     string
	facts      bool          // what pools and networks there are is known
	pool       bool          // the pool can be used here
	network    Network       // wanted
	networkErr *fabric.Error // why it can't be had now
	resources  Resources     // wanted
}

// gone tells whether nothing of the instance may stay here: it is not desired, to be deleted, or what is here is an earlier one of its name.
func (s situation) gone() bool {
	return s.instance == nil || s.instance.Deleting || s.record != nil && !s.record.Created.Equal(s.instance.Created)
}

// decide gives the next step, or why there is none although one is due.
func decide(s situation) (step, *fabric.Error) {
	runs := s.known && s.container.State != ContainerStopped
	switch {
	case s.gone() && runs:
		return stepStop, nil
	case s.gone() && s.outsider:
		return stepNone, nil // removed with its member: the disk stays until that joins again
	case s.gone() && (s.record != nil || s.known):
		return stepRemove, nil
	case s.gone():
		return stepNone, nil
	case s.instance.Member != s.member && runs:
		return stepStop, nil
	case s.instance.Member != s.member:
		return stepNone, nil
	case s.record == nil || !s.record.Ready:
		if !s.facts {
			return stepNone, nil
		}
		if !s.pool {
			return stepNone, fabric.Errorf(fabric.CodeUnavailable, "no-pool", "instance %q: storage pool %q is not usable on this member", s.name, s.instance.Pool)
		}
		return stepCreate, nil
	case s.instance.Power != fabric.PowerRunning && runs:
		return stepStop, nil
	case s.instance.Power != fabric.PowerRunning:
		return stepNone, nil
	}
	return decideRunning(s)
}

// decideRunning is decide for an instance that is complete and should run here.
func decideRunning(s situation) (step, *fabric.Error) {
	switch s.container.State {
	case ContainerStarting:
		return stepNone, nil
	case ContainerRunning:
		if s.container.Boots < s.instance.Boots {
			return stepStop, nil // and then started again
		}
		if s.networkErr == nil && !sameAddresses(s.container.Network, adapt(s.container.Network, s.network)) {
			return stepNetwork, nil
		}
		if s.container.Resources != s.resources {
			return stepLimit, nil
		}
		return stepNone, nil
	}
	if s.heldBack() || !s.facts {
		return stepNone, nil
	}
	if !s.pool {
		return stepNone, fabric.Errorf(fabric.CodeUnavailable, "no-pool", "instance %q: storage pool %q is not usable on this member", s.name, s.instance.Pool)
	}
	if s.networkErr != nil {
		return stepNone, s.networkErr
	}
	return stepStart, nil
}

// heldBack tells whether the instance waits for an operator since the member went down.
func (s situation) heldBack() bool {
	return !s.autostart && s.known && s.container.Boots > 0 && s.container.Boots >= s.instance.Boots && s.container.BootID != s.bootID
}

// died tells whether the instance should run and ended by itself.
func (s situation) died() bool {
	return !s.gone() && s.instance.Member == s.member && s.instance.Power == fabric.PowerRunning && s.known && s.container.State == ContainerStopped &&
		s.container.Boots > 0 && s.container.Boots >= s.instance.Boots && s.container.BootID == s.bootID
}

// Back-off between attempts that fail, and between deaths.
const (
	backoffFirst = time.Second
	backoffMost  = time.Minute
	healthyAfter = 30 * time.Second // a life this long makes the next death the first one
)

// backoff is the wait after so many failures in a row.
func backoff(failures int) time.Duration {
	d := backoffFirst
	for range failures - 1 {
		if d *= 2; d >= backoffMost {
			return backoffMost
		}
	}
	return d
}

// adapt is the wanted network for a container that runs with the NICs it has: these get the wanted addresses, or none where the NIC is wanted
// no more, since its addresses may belong to another instance by now. NICs that it has not come with its next start.
func adapt(have, want Network) Network {
	next := Network{Loopback: want.Loopback}
	for _, nic := range have.NICs {
		nic.Addresses, nic.Gateways = nil, nil
		if i := slices.IndexFunc(want.NICs, nic.samePlug); i >= 0 {
			nic.Addresses, nic.Gateways = want.NICs[i].Addresses, want.NICs[i].Gateways
		}
		next.NICs = append(next.NICs, nic)
	}
	return next
}

// samePlug tells whether two NICs differ at most in their addresses.
func (n NIC) samePlug(o NIC) bool {
	return n.Device == o.Device && n.Network == o.Network && n.Inside == o.Inside && n.MAC == o.MAC && n.MTU == o.MTU && n.Bridge == o.Bridge
}

// sameAddresses compares networks of the same NICs.
func sameAddresses(a, b Network) bool {
	return slices.Equal(a.Loopback, b.Loopback) && slices.EqualFunc(a.NICs, b.NICs, func(x, y NIC) bool {
		return slices.Equal(x.Addresses, y.Addresses) && slices.Equal(x.Gateways, y.Gateways)
	})
}

// needsRestart tells whether a running container lacks NICs that are wanted, or has others.
func needsRestart(have, want Network) bool {
	return len(have.NICs) != len(want.NICs) || slices.ContainsFunc(want.NICs, func(n NIC) bool { return !slices.ContainsFunc(have.NICs, n.samePlug) })
}
