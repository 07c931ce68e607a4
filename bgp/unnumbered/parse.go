package unnumbered

// ICMPv6 types (RFC 4861, 4.1 and 4.2), and where options begin in such a message.
const (
	typeSolicitation  = 133
	typeAdvertisement = 134

	solicitationOptions  = 8
	advertisementOptions = 16
)

// parse tells what an ICMPv6 message is, and whether it is valid (RFC 4861, 6.1.1 and 6.1.2): what it says beyond that is not looked at. The hop limit
// and the checksum are not its matter.
func parse(b []byte) (Kind, bool) {
	if len(b) < solicitationOptions || b[1] != 0 {
		return 0, false
	}
	switch b[0] {
	case typeSolicitation:
		return Solicitation, validOptions(b[solicitationOptions:])
	case typeAdvertisement:
		return Advertisement, len(b) >= advertisementOptions && validOptions(b[advertisementOptions:])
	}
	return 0, false
}

// validOptions tells whether options fill b exactly, none of them without a length (RFC 4861, 4.6).
func validOptions(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 8 {
			return false
		}
		n := 8 * int(b[1])
		if n == 0 || n > len(b) {
			return false
		}
		b = b[n:]
	}
	return true
}
