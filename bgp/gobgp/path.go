package gobgp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"netfabric/fabric"
)

// batch is the number of paths after which a newer config is looked for.
const batch = 256

// setPaths announces and withdraws what is not as in c. It stops early when there is a newer config: done is false then.
func (s *Speaker) setPaths(ctx context.Context, c *Config) (done bool, err error) {
	want := make(map[netip.Prefix]string, len(c.Paths))
	for _, p := range c.Paths {
		if class := classKey(p); class != "" {
			want[p.Prefix] = class
		}
	}
	n := 0
	superseded := func() bool {
		if n++; n%batch != 0 {
			return false
		}
		_, newer := s.newest(c)
		return newer
	}
	// What can't be reached any more goes first: traffic is lost for it now.
	for prefix := range s.paths {
		if _, ok := want[prefix]; ok {
			continue
		}
		if e := s.server.DeletePath(ctx, &api.DeletePathRequest{TableType: api.TableType_GLOBAL, Path: apiPath(prefix, 0)}); e != nil {
			err = errors.Join(err, fmt.Errorf("withdraw %s: %w", prefix, e))
			continue
		}
		delete(s.paths, prefix)
		if superseded() {
			return false, err
		}
	}
	for prefix, class := range want {
		if s.paths[prefix] == class {
			continue
		}
		id, ok := s.classes.id(class)
		if !ok {
			err = errors.Join(err, fmt.Errorf("announce %s: no policy for %s", prefix, class))
			continue
		}
		if _, e := s.server.AddPath(ctx, &api.AddPathRequest{TableType: api.TableType_GLOBAL, Path: apiPath(prefix, id)}); e != nil {
			err = errors.Join(err, fmt.Errorf("announce %s: %w", prefix, e))
			continue
		}
		s.paths[prefix] = class
		if superseded() {
			return false, err
		}
	}
	return true, err
}

// apiPath is a path of our own. The next hop is left open: each session puts its own address in.
func apiPath(p netip.Prefix, class uint16) *api.Path {
	nlri := packed(&api.IPAddressPrefix{Prefix: p.Addr().String(), PrefixLen: uint32(p.Bits())})
	path := &api.Path{Family: familyOf(p.Addr()), Nlri: nlri, Pattrs: []*anypb.Any{packed(&api.OriginAttribute{Origin: 0})}}
	if p.Addr().Is4() {
		path.Pattrs = append(path.Pattrs, packed(&api.NextHopAttribute{NextHop: "0.0.0.0"}))
	} else {
		path.Pattrs = append(path.Pattrs, packed(&api.MpReachNLRIAttribute{Family: path.Family, NextHops: []string{"::"}, Nlris: []*anypb.Any{nlri}}))
	}
	path.Pattrs = append(path.Pattrs, packed(&api.CommunitiesAttribute{Communities: []uint32{uint32(class)}}))
	return path
}

func packed(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err) // the messages are made here and can be encoded
	}
	return a
}

// adjOut is what a peer has been told.
func (s *Speaker) adjOut(ctx context.Context, p fabric.RoutingPeer) map[netip.Prefix]bool {
	out := map[netip.Prefix]bool{}
	for _, f := range familiesOf(p) {
		err := s.server.ListPath(ctx, &api.ListPathRequest{TableType: api.TableType_ADJ_OUT, Name: p.Address.String(), Family: f}, func(d *api.Destination) {
			if prefix, err := netip.ParsePrefix(d.Prefix); err == nil {
				out[prefix] = true
			}
		})
		if err != nil {
			s.log.Warn("cannot read what a peer was told", "peer", p.Name, "error", err)
		}
	}
	return out
}
