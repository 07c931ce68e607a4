package fabric

import (
	"regexp"
	"strings"
)

var (
	hostnamePattern  = regexp.MustCompile(`^[a-zA-Z]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`)
	namePattern      = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,62})$`)
	interfacePattern = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9._-]{1,14}$`)
)

// CheckName refuses names that are not made of letters, digits, dots, dashes and underscores (1-63, no dot first).
func CheckName(what, name string) error {
	if !namePattern.MatchString(name) || strings.Contains(name, "..") {
		return Invalidf("bad-name", "%s name %q: want 1 to 63 letters, digits, dots, dashes or underscores, a letter or digit first", what, name)
	}
	return nil
}

// CheckHostname refuses names that can't be a host name (RFC 1123, and a letter first as LXD wants it).
func CheckHostname(what, name string) error {
	if !hostnamePattern.MatchString(name) {
		return Invalidf("bad-name", "%s name %q: want 1 to 63 letters, digits or dashes, a letter first and no dash last", what, name)
	}
	return nil
}

// CheckInterface refuses names that can't be a network interface (15 bytes, IFNAMSIZ in netdevice(7)).
func CheckInterface(what, name string) error {
	if !interfacePattern.MatchString(name) {
		return Invalidf("bad-name", "%s name %q: want 2 to 15 letters, digits, dots, dashes or underscores, a letter first: it becomes an interface", what, name)
	}
	return nil
}
