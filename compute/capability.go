package compute

import "encoding/binary"

// The layout of file capabilities: struct vfs_cap_data and vfs_ns_cap_data in linux/capability.h.
const (
	capabilityRevisionMask = 0xff000000
	capabilityRevision2    = 0x02000000
	capabilityRevision3    = 0x03000000
	capabilitySize2        = 20
	capabilitySize3        = 24
)

// capabilityFor rewrites file capabilities that were valid under one id map for another one: those of a container name its root, those of the
// host name nobody. What is of no known layout is given back as it is.
func capabilityFor(value []byte, from, to IDMap) []byte {
	if len(value) != capabilitySize2 && len(value) != capabilitySize3 {
		return value
	}
	magic := binary.LittleEndian.Uint32(value)
	root := 0
	if magic&capabilityRevisionMask == capabilityRevision3 && len(value) == capabilitySize3 {
		root = int(binary.LittleEndian.Uint32(value[capabilitySize2:]))
	} else if magic&capabilityRevisionMask != capabilityRevision2 || len(value) != capabilitySize2 {
		return value
	}
	if inside, _, ok := from.inside(root, int(from.GID)); ok && root != 0 {
		root = inside
	}
	host, _, ok := to.Outside(root, 0)
	if !ok {
		return value
	}
	next := append([]byte(nil), value[:capabilitySize2]...)
	flags := magic &^ capabilityRevisionMask
	if host == 0 {
		binary.LittleEndian.PutUint32(next, flags|capabilityRevision2)
		return next
	}
	binary.LittleEndian.PutUint32(next, flags|capabilityRevision3)
	return binary.LittleEndian.AppendUint32(next, uint32(host))
}
