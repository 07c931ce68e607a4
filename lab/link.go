package lab

import "fmt"

// Link is a cable of a running lab.
type Link struct {
	lab  *Lab
	wire wire
}

// Link finds the cable at an endpoint, "n1:eth1".
func (l *Lab) Link(endpoint string) (*Link, error) {
	for i, link := range l.topology.Links {
		if link.A.String() == endpoint || link.B.String() == endpoint {
			return &Link{lab: l, wire: planWire(l.name, l.topology, i)}, nil
		}
	}
	return nil, fmt.Errorf("lab %s has no link at %s", l.name, endpoint)
}

// Spec is what the topology says about the link.
func (k *Link) Spec() LinkSpec { return k.wire.spec }

// Cut pulls the cable: nodes at it see NO-CARRIER and keep their addresses. (A switch sees its port go down.)
func (k *Link) Cut() error { return k.set(true) }

// Restore plugs the cable in again.
func (k *Link) Restore() error { return k.set(false) }

func (k *Link) set(cut bool) error {
	name := k.wire.spec.A.String()
	err := k.lab.update(func(s *state) error {
		if s.Cut == nil {
			s.Cut = map[string]bool{}
		}
		if cut {
			s.Cut[name] = true
		} else {
			delete(s.Cut, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !cut {
		// A cable to a node without power stays dark; booting the node lights it.
		for _, end := range []Endpoint{k.wire.spec.A, k.wire.spec.B} {
			if node, err := k.lab.Node(end.Node); err == nil && node.PID() == 0 {
				return nil
			}
		}
	}
	if err := k.wire.setCarrier(!cut); err != nil {
		return fmt.Errorf("link %s to %s: %w", k.wire.spec.A, k.wire.spec.B, err)
	}
	return nil
}
