package compute

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"netfabric/fabric"
)

// Limits bound what an image may make of itself.
type Limits struct {
	Entries int   // files, directories and links
	Bytes   int64 // unpacked
	// An archive that unpacks to more than RatioFrom bytes may be at most Ratio times as large as its compressed files.
	Ratio     int64
	RatioFrom int64
}

// DefaultLimits leave room for any image that was made in earnest.
var DefaultLimits = Limits{Entries: 500_000, Bytes: 64 << 30, Ratio: 200, RatioFrom: 512 << 20}

const (
	maxPath     = 4096 // PATH_MAX
	maxDepth    = 256
	maxMetadata = 1 << 20
)

func unsafeImage(format string, args ...any) error {
	return fabric.Invalidf("image-unsafe", "image refused: "+format, args...).WithFix("make the image again without it")
}

// checker decides on every entry of an archive, in order. The same checks hold when an image comes in and when it is unpacked.
type checker struct {
	limits     Limits
	compressed int64 // size of the files
	entries    int
	bytes      int64
	kinds      map[string]byte // tar type by clean name; directories that are only implied too
}

func newChecker(l Limits, compressed int64) *checker {
	return &checker{limits: l, compressed: compressed, kinds: map[string]byte{}}
}

// verdict is what to do with an entry.
type verdict int

const (
	keep verdict = iota
	skip         // harmless and not wanted
)

// check decides on an entry and gives its clean name, relative to the top of the archive.
func (c *checker) check(h *tar.Header) (name string, v verdict, err error) {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return "", skip, nil
	}
	if err := c.count(); err != nil {
		return "", skip, err
	}
	if name, err = cleanName(h.Name); err != nil {
		return "", skip, err
	}
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return "", skip, unsafeImage("its top is not a directory")
		}
		return name, keep, nil
	}
	if err := c.checkParents(name); err != nil {
		return "", skip, err
	}
	if old, there := c.kinds[name]; there && (old != tar.TypeDir || h.Typeflag != tar.TypeDir) {
		return "", skip, unsafeImage("%q comes twice", name)
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		c.bytes += h.Size
		if c.bytes > c.limits.Bytes || c.bytes > c.limits.RatioFrom && c.bytes > c.limits.Ratio*c.compressed {
			return "", skip, fabric.Errorf(fabric.CodeTooLarge, "image-too-large", "image refused: its %d bytes unpack to more than %d", c.compressed, min(c.limits.Bytes, max(c.limits.RatioFrom, c.limits.Ratio*c.compressed)))
		}
	case tar.TypeLink:
		target, err := cleanName(h.Linkname)
		if err != nil {
			return "", skip, err
		}
		if k := c.kinds[target]; k != tar.TypeReg && k != tar.TypeGNUSparse && k != tar.TypeLink {
			return "", skip, unsafeImage("hard link %q leads to %q, which is no file before it in the archive", name, h.Linkname)
		}
	case tar.TypeChar, tar.TypeBlock:
		// Containers get a /dev of their own; what the image has there is hidden anyway. Anywhere else it would be a way to the host's devices.
		if !strings.HasPrefix(name, "dev/") && !strings.HasPrefix(name, "rootfs/dev/") {
			return "", skip, unsafeImage("%q is a device node", name)
		}
		c.kinds[name] = h.Typeflag
		return name, skip, nil
	case tar.TypeDir, tar.TypeSymlink, tar.TypeFifo:
		if h.Typeflag == tar.TypeSymlink && (h.Linkname == "" || len(h.Linkname) > maxPath || strings.ContainsRune(h.Linkname, 0)) {
			return "", skip, unsafeImage("symbolic link %q has no valid target", name)
		}
	default:
		return "", skip, unsafeImage("%q is of unknown type %q", name, h.Typeflag)
	}
	c.kinds[name] = h.Typeflag
	return name, keep, nil
}

// count adds an entry, or a directory that is only implied: both are made when the image is unpacked, and remembered here.
func (c *checker) count() error {
	if c.entries++; c.entries > c.limits.Entries {
		return fabric.Errorf(fabric.CodeTooLarge, "image-too-large", "image refused: it has more than %d entries", c.limits.Entries)
	}
	return nil
}

// checkParents sees to it that an entry is in directories only, never below a link.
func (c *checker) checkParents(name string) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		switch k, there := c.kinds[dir]; {
		case !there:
			if err := c.count(); err != nil {
				return err
			}
			c.kinds[dir] = tar.TypeDir
		case k == tar.TypeSymlink:
			return unsafeImage("%q lies behind the symbolic link %q", name, dir)
		case k != tar.TypeDir:
			return unsafeImage("%q lies below %q, which is no directory", name, dir)
		default:
			return nil // the directories above have been checked with it
		}
	}
	return nil
}

func cleanName(name string) (string, error) {
	clean := path.Clean(name)
	switch {
	case name == "" || len(name) > maxPath || strings.ContainsRune(name, 0):
		return "", unsafeImage("an entry has the name %.80q", name)
	case strings.HasPrefix(name, "/"):
		return "", unsafeImage("%.80q is an absolute path", name)
	case clean == ".." || strings.HasPrefix(clean, "../"), strings.Contains("/"+name+"/", "/../"):
		return "", unsafeImage("%.80q leads out of the archive", name)
	case strings.Count(clean, "/") >= maxDepth:
		return "", unsafeImage("%.80q… is more than %d directories deep", name, maxDepth)
	}
	return clean, nil
}

// layout says where an image keeps its root file system.
type layout struct {
	prefix string // of the entries that belong to the root file system
}

var (
	unifiedLayout = layout{"rootfs"}
	rootfsLayout  = layout{"."}
)

// inside gives the name of an entry in the root file system, "." for its root; ok is false for entries that are not part of it.
func (l layout) inside(name string) (string, bool) {
	if l.prefix == "." {
		return name, true
	}
	if name == l.prefix {
		return ".", true
	}
	return strings.CutPrefix(name, l.prefix+"/")
}

// walkTar calls visit for every entry that is to be kept.
func walkTar(r io.Reader, c *checker, visit func(name string, h *tar.Header, body io.Reader) error) error {
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return brokenArchive(err)
		}
		name, v, err := c.check(h)
		if err != nil {
			return err
		}
		if v == skip {
			continue
		}
		if err := visit(name, h, archive); err != nil {
			return err
		}
	}
}

func brokenArchive(err error) error {
	if fabric.ReasonOf(err) != "internal" {
		return err
	}
	return fabric.Invalidf("image-broken", "image refused: its archive can't be read: %w", err)
}

// scan reads an image's files to their ends, checks them and gives its metadata.
func scan(files imageFiles, l Limits) (metadata, error) {
	var size int64
	for _, f := range files {
		size += f.size
	}
	raw, rooted := []byte(nil), false
	for _, f := range files {
		r, err := decompress(f.path)
		if err != nil {
			return metadata{}, err
		}
		err = walkTar(r, newChecker(l, size), func(name string, h *tar.Header, body io.Reader) error {
			if f.role != roleRootfs && name == "metadata.yaml" {
				if h.Typeflag != tar.TypeReg || h.Size > maxMetadata {
					return unsafeImage("its metadata.yaml is no file of at most %d bytes", maxMetadata)
				}
				raw, err = io.ReadAll(body)
				return err
			}
			if inside, ok := f.layout().inside(name); ok && f.role != roleMetadata {
				rooted = rooted || inside != "."
			}
			return nil
		})
		if err = errors.Join(err, r.Close()); err != nil {
			return metadata{}, brokenArchive(err)
		}
	}
	if raw == nil {
		return metadata{}, fabric.Invalidf("image-broken", "image refused: it has no metadata.yaml").WithFix("give a unified image, or metadata and rootfs as two files")
	}
	if !rooted {
		return metadata{}, fabric.Invalidf("image-broken", "image refused: it has no root file system").WithFix("a unified image has it below rootfs/")
	}
	m, err := parseMetadata(raw)
	if err != nil {
		return metadata{}, fmt.Errorf("image refused: %w", err)
	}
	return m, nil
}
