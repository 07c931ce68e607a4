package gobgp

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"strconv"
	"strings"

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
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("set the BGP password for %s: %w", p, err)
	}
	for _, f := range files {
		if target, err := os.Readlink("/proc/self/fd/" + f.Name()); err != nil || !strings.HasPrefix(target, "socket:") {
			continue
		}
		n, err := strconv.Atoi(f.Name())
		if err != nil {
			continue
		}
		fd, err := unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0) // see setUserTimeout
		if err != nil {
			continue
		}
		if s.listensOn(fd) {
			err = unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG_EXT, md5Of(p, key))
			if err == unix.ENOENT && key == "" {
				err = nil
			}
		}
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("set the BGP password for %s: %w", p, err)
		}
	}
	return nil
}

// listensOn tells whether a file is a socket on which sessions are accepted.
func (s *Speaker) listensOn(fd int) bool {
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || listening == 0 {
		return false
	}
	local, port := address(unix.Getsockname(fd))
	return local == s.running.Listen.Addr().Unmap() && port == int(s.running.Listen.Port())
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
