package compute

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

// unpack writes the root file system of an image into the directory root, with owners moved by ids.
func unpack(ctx context.Context, files imageFiles, root string, ids IDMap, l Limits) error {
	top, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer top.Close()
	var size int64
	for _, f := range files {
		size += f.size
	}
	w := &treeWriter{root: top, ids: ids}
	// The root itself belongs to the container's root, whether the archive mentions it or not.
	if err := w.own(".", 0, 0); err != nil {
		return err
	}
	for _, f := range files {
		if f.role == roleMetadata {
			continue
		}
		r, err := decompress(f.path)
		if err != nil {
			return err
		}
		err = walkTar(r, newChecker(l, size), func(name string, h *tar.Header, body io.Reader) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			inside, ok := f.layout().inside(name)
			if !ok {
				return nil
			}
			if h.Typeflag == tar.TypeLink {
				target, err := cleanName(h.Linkname)
				if err != nil {
					return err
				}
				if h.Linkname, ok = f.layout().inside(target); !ok {
					return unsafeImage("hard link %q leads out of the root file system", name)
				}
			}
			return w.write(inside, h, body)
		})
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return w.finish()
}

// treeWriter writes archive entries below a directory that they can't leave.
type treeWriter struct {
	root  *os.Root
	ids   IDMap
	times []dirTime
}

type dirTime struct {
	name string
	at   time.Time
}

// finish sets what later entries would have changed.
func (w *treeWriter) finish() error {
	for _, d := range w.times {
		if err := w.root.Chtimes(d.name, d.at, d.at); err != nil {
			return fmt.Errorf("unpack %q: %w", d.name, err)
		}
	}
	return nil
}

func (w *treeWriter) own(name string, uid, gid int) error {
	hostUID, hostGID, ok := w.ids.Outside(uid, gid)
	if !ok {
		return fabric.Invalidf("unmapped-id", "unpack %q: it belongs to %d:%d, and containers of this member have ids up to %d", name, uid, gid, w.ids.Size-1)
	}
	return w.root.Lchown(name, hostUID, hostGID)
}

func (w *treeWriter) write(name string, h *tar.Header, body io.Reader) error {
	if err := w.parents(name); err != nil {
		return fmt.Errorf("unpack %q: %w", name, err)
	}
	if err := w.entry(name, h, body); err != nil {
		return fmt.Errorf("unpack %q: %w", name, err)
	}
	return nil
}

// parents makes directories that the archive only implies.
func (w *treeWriter) parents(name string) error {
	dir := path.Dir(name)
	if dir == "." {
		return nil
	}
	if _, err := w.root.Lstat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := w.parents(dir); err != nil {
		return err
	}
	if err := w.root.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return w.own(dir, 0, 0)
}

func (w *treeWriter) entry(name string, h *tar.Header, body io.Reader) error {
	mode := uint32(h.Mode) & 0o7777
	switch h.Typeflag {
	case tar.TypeDir:
		if err := w.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := w.own(name, h.Uid, h.Gid); err != nil {
			return err
		}
		w.times = append(w.times, dirTime{name, h.ModTime})
		dir, err := w.root.Open(name)
		if err != nil {
			return err
		}
		return errors.Join(unix.Fchmod(int(dir.Fd()), mode), dir.Close())
	case tar.TypeReg, tar.TypeGNUSparse:
		return w.file(name, h, body, mode)
	case tar.TypeSymlink:
		if err := w.root.Symlink(h.Linkname, name); err != nil {
			return err
		}
		return w.own(name, h.Uid, h.Gid)
	case tar.TypeLink:
		return w.root.Link(h.Linkname, name)
	case tar.TypeFifo:
		dir, err := w.root.Open(path.Dir(name))
		if err != nil {
			return err
		}
		err = unix.Mknodat(int(dir.Fd()), path.Base(name), unix.S_IFIFO|mode, 0)
		return errors.Join(err, dir.Close(), w.own(name, h.Uid, h.Gid))
	}
	return unsafeImage("%q is of unknown type %q", name, h.Typeflag)
}

func (w *treeWriter) file(name string, h *tar.Header, body io.Reader, mode uint32) (err error) {
	file, err := w.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := io.Copy(file, body); err != nil {
		return brokenArchive(err)
	}
	fd := int(file.Fd())
	uid, gid, ok := w.ids.Outside(h.Uid, h.Gid)
	if !ok {
		return w.own(name, h.Uid, h.Gid) // says why not
	}
	// In this order: a new owner drops set-id bits and capabilities.
	if err := unix.Fchown(fd, uid, gid); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		return err
	}
	for key, value := range h.PAXRecords {
		attribute, ok := strings.CutPrefix(key, "SCHILY.xattr.")
		if !ok {
			continue
		}
		data := []byte(value)
		if attribute == capabilityAttribute {
			data = capabilityFor(data, IDMap{}, w.ids)
		} else if !strings.HasPrefix(attribute, "user.") {
			continue // labels and lists that mean something only where the image was made
		}
		if err := unix.Fsetxattr(fd, attribute, data, 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("set attribute %s: %w", attribute, err)
		}
	}
	at := unix.NsecToTimeval(h.ModTime.UnixNano())
	return unix.Futimes(fd, []unix.Timeval{at, at})
}
