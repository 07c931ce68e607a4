package gobgp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// batch is the number of paths after which a newer config is looked for.
const batch = 256

// addition is a path to announce.
type addition struct {
	prefix netip.Prefix
	class  *class
}

// classify finds out what is to be announced that is not, and marks in the book what is to stay. fresh tells whether there are new classes.
func (s *Speaker) classify(c *Config) (todo []addition, fresh bool) {
	s.round++
	for _, p := range c.Paths {
		x, isNew := s.classes.of(p)
		fresh = fresh || isNew
		if x == nil {
			continue
		}
		e, ok := s.book.paths[p.Prefix]
		if ok {
			e.round = s.round
		}
		if !ok || e.class != x {
			todo = append(todo, addition{p.Prefix, x})
		}
	}
	return todo, fresh
}

// setPaths withdraws what classify has not marked and announces what it found. It stops early when there is a newer config than c: done is
// false then.
func (s *Speaker) setPaths(ctx context.Context, c *Config, todo []addition) (done bool, err error) {
	n := 0
	superseded := func() bool {
		if n++; n%batch != 0 {
			return false
		}
		_, newer := s.newest(c)
		return newer
	}
	// What can't be reached any more goes first: traffic is lost for it now.
	for prefix, e := range s.book.paths {
		if e.round == s.round {
			continue
		}
		if e := s.server.DeletePath(ctx, &api.DeletePathRequest{TableType: api.TableType_GLOBAL, Path: apiPath(prefix, 0)}); e != nil {
			err = errors.Join(err, fmt.Errorf("withdraw %s: %w", prefix, e))
			continue
		}
		s.book.remove(prefix)
		if superseded() {
			return false, err
		}
	}
	contested := s.contested()
	for _, a := range todo {
		if _, e := s.server.AddPath(ctx, &api.AddPathRequest{TableType: api.TableType_GLOBAL, Path: apiPath(a.prefix, a.class.id)}); e != nil {
			err = errors.Join(err, fmt.Errorf("announce %s: %w", a.prefix, e))
			continue
		}
		s.book.put(a.prefix, a.class, contested, s.round)
		s.unranked = s.unranked || contested
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
