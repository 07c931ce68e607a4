package compute

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"netfabric/fabric"
)

// Images keeps the files of images on this member: a directory per fingerprint, complete or not there. It may be used by many at a time.
type Images struct {
	dir    string
	limits Limits
}

// role is what a file of an image holds.
type role string

const (
	roleUnified  role = "image"
	roleMetadata role = "metadata"
	roleRootfs   role = "rootfs"
)

type imageFile struct {
	role role
	path string
	size int64
}

func (f imageFile) layout() layout {
	if f.role == roleUnified {
		return unifiedLayout
	}
	return rootfsLayout
}

// imageFiles are all files of an image, metadata first.
type imageFiles []imageFile

// abandonedAfter is the age at which an import can't be going on any more.
const abandonedAfter = 24 * time.Hour

var fingerprintPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// NewImages keeps images in dir, which is made when the first one comes.
func NewImages(dir string) *Images { return &Images{dir: dir, limits: DefaultLimits} }

// Import takes in an image: one file that is a unified tarball, or two, named "metadata" and "rootfs". It reads and closes the files, checks
// everything in them, and describes the image; Origin, Public and what else the cluster decides are the caller's. An image that is here
// already is described again. What is refused leaves nothing behind.
func (s *Images) Import(ctx context.Context, files []fabric.ImageFile) (*fabric.Image, error) {
	return s.take(ctx, files, "")
}

// take is Import; where want is not empty the fingerprint must be that.
func (s *Images) take(ctx context.Context, files []fabric.ImageFile, want string) (image *fabric.Image, err error) {
	defer func() {
		for _, f := range files {
			err = errors.Join(err, f.Body.Close())
		}
	}()
	roles, err := rolesOf(files)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.dir, 0o711); err != nil {
		return nil, fmt.Errorf("import an image: %w", err)
	}
	temporary, err := os.MkdirTemp(s.dir, ".import-")
	if err != nil {
		return nil, fmt.Errorf("import an image: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()

	hash := sha256.New()
	image = &fabric.Image{Type: "container", Split: len(files) == 2, Filename: files[0].Name}
	var stored imageFiles
	for i, f := range files {
		path := filepath.Join(temporary, string(roles[i]))
		n, err := store(ctx, path, io.TeeReader(io.LimitReader(f.Body, s.limits.Bytes-image.Size+1), hash))
		if err != nil {
			return nil, fmt.Errorf("import an image: %w", err)
		}
		stored = append(stored, imageFile{roles[i], path, n})
		if image.Size += n; image.Size > s.limits.Bytes {
			return nil, fabric.Errorf(fabric.CodeTooLarge, "image-too-large", "image refused: its files are larger than %d bytes", s.limits.Bytes)
		}
	}
	image.Name = hex.EncodeToString(hash.Sum(nil))
	if want != "" && image.Name != want {
		return nil, fabric.Errorf(fabric.CodeUnavailable, "fingerprint-mismatch", "import image %.12s: what came has fingerprint %.12s", want, image.Name)
	}
	m, err := scan(stored, s.limits)
	if err != nil {
		return nil, err
	}
	image.Architecture, image.Properties, image.MadeAt, image.ExpiresAt = m.Architecture, m.Properties, m.MadeAt, m.ExpiresAt
	return image, s.publish(temporary, image.Name)
}

// rolesOf tells what the files are, by number and name.
func rolesOf(files []fabric.ImageFile) ([]role, error) {
	switch {
	case len(files) == 1:
		return []role{roleUnified}, nil
	case len(files) == 2 && files[0].Name == string(roleMetadata) && files[1].Name == string(roleRootfs):
		return []role{roleMetadata, roleRootfs}, nil
	}
	return nil, fabric.Invalidf("image-broken", "image refused: it is %d files", len(files)).WithFix("give one unified tarball, or metadata and rootfs in this order")
}

func store(ctx context.Context, path string, r io.Reader) (n int64, err error) {
	// Programs that unpack run as nobody and get the file open; the directory around it keeps everybody else out.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(file, contextReader{ctx, r})
	return n, errors.Join(err, file.Sync(), file.Close())
}

// contextReader stops reading when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func (s *Images) publish(temporary, fingerprint string) error {
	err := os.Rename(temporary, filepath.Join(s.dir, fingerprint))
	if errors.Is(err, fs.ErrExist) {
		return nil // it is here already, and what has this fingerprint is the same
	}
	if err != nil {
		return fmt.Errorf("import image %.12s: %w", fingerprint, err)
	}
	return nil
}

// Has tells whether an image is here.
func (s *Images) Has(fingerprint string) bool {
	_, err := s.files(fingerprint)
	return err == nil
}

// Open gives the files of an image to read, in the order in which they make up the fingerprint. The caller closes them.
func (s *Images) Open(fingerprint string) ([]fabric.ImageFile, error) {
	files, err := s.files(fingerprint)
	if err != nil {
		return nil, err
	}
	var opened []fabric.ImageFile
	for _, f := range files {
		body, err := os.Open(f.path)
		if err != nil {
			for _, o := range opened {
				err = errors.Join(err, o.Body.Close())
			}
			return nil, fmt.Errorf("open image %.12s: %w", fingerprint, err)
		}
		opened = append(opened, fabric.ImageFile{Name: string(f.role), Size: f.size, Body: body})
	}
	return opened, nil
}

func (s *Images) files(fingerprint string) (imageFiles, error) {
	if !fingerprintPattern.MatchString(fingerprint) {
		return nil, fabric.Invalidf("bad-fingerprint", "image %q: the fingerprint is not a SHA-256 in hex", fingerprint)
	}
	var files imageFiles
	for _, r := range []role{roleUnified, roleMetadata, roleRootfs} {
		path := filepath.Join(s.dir, fingerprint, string(r))
		if info, err := os.Stat(path); err == nil {
			files = append(files, imageFile{r, path, info.Size()})
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("open image %.12s: %w", fingerprint, err)
		}
	}
	if len(files) == 0 {
		return nil, fabric.NotFoundf("image %.12s is not on this member", fingerprint)
	}
	return files, nil
}

// Delete removes an image from this member. Deleting what is not here is no error.
func (s *Images) Delete(fingerprint string) error {
	if !fingerprintPattern.MatchString(fingerprint) {
		return fabric.Invalidf("bad-fingerprint", "image %q: the fingerprint is not a SHA-256 in hex", fingerprint)
	}
	if err := os.RemoveAll(filepath.Join(s.dir, fingerprint)); err != nil {
		return fmt.Errorf("delete image %.12s: %w", fingerprint, err)
	}
	return nil
}

// list gives the images that are here with the time of their arrival, and drops what imports of an earlier life left behind.
func (s *Images) list() (map[string]time.Time, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list images: %w", err)
	}
	all := map[string]time.Time{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // gone meanwhile
		}
		if fingerprintPattern.MatchString(e.Name()) {
			all[e.Name()] = info.ModTime()
		} else if strings.HasPrefix(e.Name(), ".import-") && time.Since(info.ModTime()) > abandonedAfter {
			if err := os.RemoveAll(filepath.Join(s.dir, e.Name())); err != nil {
				return nil, fmt.Errorf("drop an abandoned import: %w", err)
			}
		}
	}
	return all, nil
}

// Unpack writes the root file system of an image that is here into an empty directory, with owners moved by ids.
func (s *Images) Unpack(ctx context.Context, fingerprint, root string, ids IDMap) error {
	files, err := s.files(fingerprint)
	if err != nil {
		return err
	}
	if err := unpack(ctx, files, root, ids, s.limits); err != nil {
		return fmt.Errorf("unpack image %.12s: %w", fingerprint, err)
	}
	return nil
}
