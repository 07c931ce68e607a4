package compute

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

// IDMap says which ids of the host the ids 0 to Size-1 of a container are. The zero IDMap maps nothing: ids are the same inside and outside.
type IDMap struct {
	UID  uint32 `json:"uid"`  // of the container's uid 0
	GID  uint32 `json:"gid"`  // of the container's gid 0
	Size uint32 `json:"size"` // ids
}

const (
	defaultIDBase = 1000000
	maxIDs        = 1000000000
	minIDs        = 65536 // what a distribution uses
)

// ReadIDMap is the id map for the containers of this member: what /etc/subuid and /etc/subgid give to root, or the range that LXC tools
// use where they give nothing. All containers share it.
func ReadIDMap(subuid, subgid string) (IDMap, error) {
	uid, uids, err := subordinate(subuid)
	if err != nil {
		return IDMap{}, err
	}
	gid, gids, err := subordinate(subgid)
	if err != nil {
		return IDMap{}, err
	}
	m := IDMap{UID: uid, GID: gid, Size: min(uids, gids, maxIDs)}
	if m.Size < minIDs {
		return IDMap{}, fabric.Errorf(fabric.CodeUnavailable, "too-few-ids", "%s and %s give root %d ids for its containers", subuid, subgid, m.Size).
			WithFix("give it at least %d in both, for example with the line root:%d:%d", minIDs, defaultIDBase, maxIDs)
	}
	return m, nil
}

// subordinate finds the largest range of root in a file as in subuid(5).
func subordinate(file string) (base, size uint32, err error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return defaultIDBase, maxIDs, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read root's ids: %w", err)
	}
	defer f.Close()
	found := false
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Split(strings.TrimSpace(lines.Text()), ":")
		if len(fields) != 3 || fields[0] != "root" && fields[0] != "0" {
			continue
		}
		b, err1 := strconv.ParseUint(fields[1], 10, 32)
		n, err2 := strconv.ParseUint(fields[2], 10, 32)
		if err1 != nil || err2 != nil || b == 0 || b+n > 1<<32-1 {
			continue
		}
		if found = true; uint32(n) > size {
			base, size = uint32(b), uint32(n)
		}
	}
	if err := lines.Err(); err != nil {
		return 0, 0, fmt.Errorf("read root's ids: %w", err)
	}
	if !found {
		return defaultIDBase, maxIDs, nil
	}
	return base, size, nil
}

// Outside gives the ids on the host of ids in the container. ok is false for ids that the map does not have.
func (m IDMap) Outside(uid, gid int) (hostUID, hostGID int, ok bool) {
	if m.Size == 0 {
		return uid, gid, uid >= 0 && gid >= 0
	}
	return int(m.UID) + uid, int(m.GID) + gid, uid >= 0 && gid >= 0 && uid < int(m.Size) && gid < int(m.Size)
}

// inside is the inverse of Outside.
func (m IDMap) inside(uid, gid int) (int, int, bool) {
	if m.Size == 0 {
		return uid, gid, true
	}
	u, g := uid-int(m.UID), gid-int(m.GID)
	return u, g, u >= 0 && g >= 0 && u < int(m.Size) && g < int(m.Size)
}

const capabilityAttribute = "security.capability"

// reown moves a tree from one id map to another. It may be repeated after it was interrupted: what is moved already stays.
func reown(ctx context.Context, root string, from, to IDMap) error {
	return filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		var s unix.Stat_t
		if err := unix.Lstat(path, &s); err != nil {
			return fmt.Errorf("stat %s: %w", path, err)
		}
		if _, _, moved := to.inside(int(s.Uid), int(s.Gid)); moved && to.Size > 0 {
			return nil
		}
		uid, gid, ok := from.inside(int(s.Uid), int(s.Gid))
		if !ok {
			return nil // moved already, to no map
		}
		if uid, gid, ok = to.Outside(uid, gid); !ok {
			return fabric.Invalidf("unmapped-id", "%s belongs to %d:%d, which the container's id map does not have", path, s.Uid, s.Gid)
		}
		// Changing the owner drops capabilities and the set-id bits.
		capability := make([]byte, 64)
		n, _ := unix.Lgetxattr(path, capabilityAttribute, capability)
		if err := os.Lchown(path, uid, gid); err != nil {
			return err
		}
		if s.Mode&unix.S_IFMT != unix.S_IFLNK {
			if err := unix.Chmod(path, s.Mode&0o7777); err != nil {
				return fmt.Errorf("set the mode of %s: %w", path, err)
			}
		}
		if n > 0 {
			if err := unix.Lsetxattr(path, capabilityAttribute, capabilityFor(capability[:n], from, to), 0); err != nil {
				return fmt.Errorf("set the capabilities of %s: %w", path, err)
			}
		}
		return nil
	})
}
