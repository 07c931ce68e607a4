package fabric

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
}

// ParseSize reads a number of bytes with an optional unit as LXD writes them: 512MiB, 1GB, 4096.
func ParseSize(v string) (int64, error) {
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(v, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n <= 0 || n > (1<<62)/u.bytes {
			break
		}
		return n * u.bytes, nil
	}
	return 0, fmt.Errorf("want a size such as 512MiB, 2GiB or 1GB")
}

func checkSize(v string) error {
	_, err := ParseSize(v)
	return err
}

func checkMAC(v string) error {
	m, err := net.ParseMAC(v)
	if err != nil || len(m) != 6 || m.String() != v {
		return fmt.Errorf("want six lower-case bytes with colons, such as 00:16:3e:12:34:56")
	}
	if m[0]&1 == 1 {
		return fmt.Errorf("is a multicast address")
	}
	return nil
}
