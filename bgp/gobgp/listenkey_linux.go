package gobgp

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"golang.org/x/sys/unix"
)

// setKeys makes keys the TCP MD5 passwords (RFC 2385) by which connections from prefixes are accepted, beside those of peers. GoBGP gives nobody
// its sockets, so they are looked for among the files of the process.
func (s *Speaker) setKeys(keys map[netip.Prefix]string) (err error) {
	if maps.Equal(keys, s.keys) || !s.running.Listen.IsValid() {
		return nil
	}
	for p := range s.keys {
		if _, ok := keys[p]; !ok {
			err = s.setListenKey(p, "")
		}
	}
	for p, key := range keys {
		if s.keys[p] != key {
			if e := s.setListenKey(p, key); e != nil {
				err = e
			}
		}
	}
	if err == nil {
		s.keys = maps.Clone(keys)
	}
	return err
}

// setListenKey gives the listening sockets a key for a prefix, or with an empty one takes it from them.
func (s *Speaker) setListenKey(p netip.Prefix, key string) error {
	err := s.eachListener(func(fd int, at netip.Addr) error {
		if at != s.running.Listen.Addr() {
			return nil // that of members: they have keys of their own
		}
		err := unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG_EXT, md5Of(p, key))
		if err == unix.ENOENT && key == "" {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("set the BGP password for %s: %w", p, err)
	}
	return nil
}

// eachListener has f do something to each socket on which sessions are accepted, and ends with its first error.
func (s *Speaker) eachListener(f func(fd int, at netip.Addr) error) error {
	var failure error
	err := eachSocket(func(fd int) {
		if at, ok := s.listensOn(fd); ok && failure == nil {
			failure = f(fd, at)
		}
	})
	return errors.Join(err, failure)
}

// listensOn tells whether a file is a socket on which sessions are accepted, and on which address.
func (s *Speaker) listensOn(fd int) (at netip.Addr, ok bool) {
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || listening == 0 {
		return at, false
	}
	local, port := address(unix.Getsockname(fd))
	for _, at := range []netip.Addr{s.running.Listen.Addr(), s.running.Mesh} {
		if at.IsValid() && local == at.Unmap() && port == int(s.running.Port()) {
			return at, true
		}
	}
	return at, false
}

// md5Of is what TCP_MD5SIG_EXT in tcp(7) takes.
func md5Of(p netip.Prefix, key string) *unix.TCPMD5Sig {
	m := &unix.TCPMD5Sig{Flags: unix.TCP_MD5SIG_FLAG_PREFIX, Prefixlen: uint8(p.Bits()), Keylen: uint16(len(key))}
	copy(m.Key[:], key)
	if p.Addr().Is4() {
		m.Addr.Family = unix.AF_INET
		copy(m.Addr.Data[2:], p.Addr().AsSlice())
	} else {
		m.Addr.Family = unix.AF_INET6
		copy(m.Addr.Data[6:], p.Addr().AsSlice())
	}
	return m
}
