package gobgp

import "netfabric/fabric"

// relimit takes over what GoBGP knows nothing of, while sessions go on: when to warn, and how long a session that ended for its limit waits. Another
// limit that ends sessions has to be a new session's: GoBGP would take it, and forget by that for which families the peer can restart (UpdatePeer
// replaces the state with the config).
func (s *Speaker) relimit(c *Config) {
	for _, p := range c.Peers {
		x, ok := s.sessions[p.Name]
		if !ok || x.state != established || ceasesAt(p) != ceasesAt(x.peer) {
			continue
		}
		as := x.peer
		as.MaxPrefix = p.MaxPrefix
		if as == p {
			x.peer = p
		}
	}
}

// ceasesAt is the number of prefixes beyond which the session with a peer ends, 0 where none is too many.
func ceasesAt(p fabric.RoutingPeer) int {
	if p.MaxPrefix.Action == fabric.MaxPrefixWarn {
		return 0
	}
	return p.MaxPrefix.Limit
}
