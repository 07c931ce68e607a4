package fabric

import (
	"fmt"
	"strconv"
	"strings"
)

// Community is a BGP community (RFC 1997) or large community (RFC 8092). As text it is N:N, N:N:N or a well-known name.
type Community struct {
	Large   bool
	Numbers [3]uint32 // of one that is not large, the first two; each 0-65535 there
}

// wellKnown are the names of communities in the IANA registry "Border Gateway Protocol (BGP) Well-known Communities".
var wellKnown = map[string]Community{
	"graceful-shutdown":   standard(65535, 0),
	"accept-own":          standard(65535, 1),
	"llgr-stale":          standard(65535, 6),
	"no-llgr":             standard(65535, 7),
	"blackhole":           standard(65535, 666),
	"no-export":           standard(65535, 65281),
	"no-advertise":        standard(65535, 65282),
	"no-export-subconfed": standard(65535, 65283),
	"no-peer":             standard(65535, 65284),
}

// GracefulShutdown asks peers to prefer other ways (RFC 8326).
var GracefulShutdown = wellKnown["graceful-shutdown"]

func standard(a, b uint32) Community { return Community{Numbers: [3]uint32{a, b}} }

// ParseCommunity reads N:N, N:N:N or a well-known name.
func ParseCommunity(s string) (Community, error) {
	if c, ok := wellKnown[s]; ok {
		return c, nil
	}
	fields := strings.Split(s, ":")
	c := Community{Large: len(fields) == 3}
	bits := 16
	if c.Large {
		bits = 32
	}
	if len(fields) != 2 && len(fields) != 3 {
		return Community{}, fmt.Errorf("%q is not a community: want 65000:1, a large one such as 65000:1:2, or a name such as no-export", s)
	}
	for i, f := range fields {
		n, err := strconv.ParseUint(f, 10, bits)
		if err != nil || f != strconv.FormatUint(n, 10) {
			return Community{}, fmt.Errorf("%q is not a community: %q is not a number from 0 to %d", s, f, uint64(1)<<bits-1)
		}
		c.Numbers[i] = uint32(n)
	}
	return c, nil
}

// String is the well-known name, or the numbers between colons.
func (c Community) String() string {
	if c.Large {
		return fmt.Sprintf("%d:%d:%d", c.Numbers[0], c.Numbers[1], c.Numbers[2])
	}
	for name, known := range wellKnown {
		if c == known {
			return name
		}
	}
	return c.Digits()
}

// Digits is the community in numbers, also where it has a name.
func (c Community) Digits() string {
	if c.Large {
		return c.String()
	}
	return fmt.Sprintf("%d:%d", c.Numbers[0], c.Numbers[1])
}

// MarshalText gives String.
func (c Community) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what ParseCommunity reads.
func (c *Community) UnmarshalText(text []byte) (err error) {
	*c, err = ParseCommunity(string(text))
	return err
}
