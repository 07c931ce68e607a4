package compute

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

const goodMetadata = "architecture: x86_64\ncreation_date: 1700000000\nexpiry_date: 1800000000\nproperties:\n  os: test\n  release: 12\n"

// entry is a line of an archive.
type entry struct {
	name, link, content string
	kind                byte
	mode                int64
	uid                 int
	xattrs              map[string]string
}

func archiveOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Linkname: e.link, Typeflag: e.kind, Mode: e.mode, Uid: e.uid, Size: int64(len(e.content)), Devmajor: 8}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		for k, v := range e.xattrs {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords["SCHILY.xattr."+k] = v
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var (
	metadataEntry = entry{name: "metadata.yaml", content: goodMetadata, mode: 0o644}
	rootfsEntry   = entry{name: "rootfs/", kind: tar.TypeDir}
)

func goodImage(t testing.TB) []byte {
	t.Helper()
	return archiveOf(t, metadataEntry, rootfsEntry, entry{name: "rootfs/hello", content: "world"})
}

func zipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func importInto(t testing.TB, s *Images, files ...[]byte) (*fabric.Image, error) {
	t.Helper()
	var list []fabric.ImageFile
	for i, data := range files {
		name := "image.tar"
		if len(files) == 2 {
			name = []string{"metadata", "rootfs"}[i]
		}
		list = append(list, fabric.ImageFile{Name: name, Size: int64(len(data)), Body: io.NopCloser(bytes.NewReader(data))})
	}
	return s.Import(context.Background(), list)
}

func TestHostileImages(t *testing.T) {
	with := func(entries ...entry) []byte {
		return archiveOf(t, append([]entry{metadataEntry, rootfsEntry}, entries...)...)
	}
	dir := func(name string) entry { return entry{name: name, kind: tar.TypeDir} }
	symlink := func(name, to string) entry { return entry{name: name, link: to, kind: tar.TypeSymlink} }
	link := func(name, to string) entry { return entry{name: name, link: to, kind: tar.TypeLink} }
	var crowd []entry
	for i := range 1001 {
		crowd = append(crowd, entry{name: fmt.Sprintf("rootfs/%d", i)})
	}
	var deep []entry
	for i := range 10 {
		deep = append(deep, entry{name: fmt.Sprintf("rootfs/%d/%sf", i, strings.Repeat("a/", 200))})
	}
	for _, c := range []struct {
		name, reason string
		image        []byte
	}{
		{"parent", "image-unsafe", with(entry{name: "rootfs/../../evil"})},
		{"parent that cancels out", "image-unsafe", with(entry{name: "rootfs/a/../b"})},
		{"absolute name", "image-unsafe", with(entry{name: "/etc/evil"})},
		{"behind an absolute symlink", "image-unsafe", with(symlink("rootfs/etc", "/etc"), entry{name: "rootfs/etc/evil"})},
		{"behind a symlink out", "image-unsafe", with(symlink("rootfs/up", "../.."), entry{name: "rootfs/up/evil"})},
		{"behind a symlink inside", "image-unsafe", with(dir("rootfs/a/"), symlink("rootfs/b", "a"), entry{name: "rootfs/b/evil"})},
		{"deep behind a symlink", "image-unsafe", with(symlink("rootfs/up", "/"), entry{name: "rootfs/up/a/b/evil"})},
		{"directory replaced by a symlink", "image-unsafe", with(dir("rootfs/d/"), symlink("rootfs/d", "/etc"), entry{name: "rootfs/d/evil"})},
		{"root replaced by a symlink", "image-unsafe", archiveOf(t, metadataEntry, symlink("rootfs", "/"), entry{name: "rootfs/evil"})},
		{"symlink overwritten", "image-unsafe", with(symlink("rootfs/f", "/etc/passwd"), entry{name: "rootfs/f", content: "evil"})},
		{"hard link out", "image-unsafe", with(link("rootfs/f", "../../etc/passwd"))},
		{"hard link to an absolute path", "image-unsafe", with(link("rootfs/f", "/etc/passwd"))},
		{"hard link to nothing", "image-unsafe", with(link("rootfs/f", "rootfs/later"), entry{name: "rootfs/later"})},
		{"hard link to a symlink", "image-unsafe", with(symlink("rootfs/s", "/etc/passwd"), link("rootfs/f", "rootfs/s"))},
		{"device node", "image-unsafe", with(entry{name: "rootfs/sda", kind: tar.TypeBlock})},
		{"file below a file", "image-unsafe", with(entry{name: "rootfs/f"}, entry{name: "rootfs/f/g"})},
		{"too deep", "image-unsafe", with(entry{name: "rootfs/" + strings.Repeat("a/", 300) + "f"})},
		{"too many entries", "image-too-large", with(crowd...)},
		{"too many implied directories", "image-too-large", with(deep...)},
		{"bomb", "image-too-large", zipped(t, with(entry{name: "rootfs/zeros", content: strings.Repeat("\x00", 2<<20)}))},
		{"cut off", "image-broken", zipped(t, with(entry{name: "rootfs/f", content: "x"}))[:60]},
		{"cut off in the middle", "image-broken", with(entry{name: "rootfs/f", content: strings.Repeat("x", 4096)})[:3000]},
		{"no archive", "image-format", []byte("hello")},
		{"empty", "image-format", nil},
		{"no metadata", "image-broken", archiveOf(t, rootfsEntry, entry{name: "rootfs/f"})},
		{"metadata behind a symlink", "image-unsafe", archiveOf(t, symlink("metadata.yaml", "/etc/passwd"), rootfsEntry, entry{name: "rootfs/f"})},
		{"metadata too large", "image-unsafe", archiveOf(t, entry{name: "metadata.yaml", content: strings.Repeat("#", maxMetadata+1)})},
		{"metadata that is no YAML", "image-broken", archiveOf(t, entry{name: "metadata.yaml", content: "a: [}"}, entry{name: "rootfs/f"})},
		{"no root file system", "image-broken", archiveOf(t, metadataEntry)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewImages(filepath.Join(t.TempDir(), "images"))
			s.limits = Limits{Entries: 1000, Bytes: 1 << 30, Ratio: 100, RatioFrom: 1 << 20}
			_, err := importInto(t, s, c.image)
			if got := fabric.ReasonOf(err); got != c.reason {
				t.Errorf("reason %q, want %q: %v", got, c.reason, err)
			}
			if left, _ := os.ReadDir(s.dir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			// The unpacker must hold by itself, should such an archive ever get past the import.
			unpackHostile(t, c.image, s.limits)
		})
	}
}

func TestUploadIsBounded(t *testing.T) {
	s := NewImages(filepath.Join(t.TempDir(), "images"))
	image := goodImage(t)
	s.limits.Bytes = int64(len(image)) - 1
	if _, err := importInto(t, s, image); fabric.ReasonOf(err) != "image-too-large" {
		t.Errorf("an upload larger than allowed: %v", err)
	}
	if left, _ := os.ReadDir(s.dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	s.limits.Bytes++
	if _, err := importInto(t, s, image); err != nil {
		t.Errorf("an upload as large as allowed: %v", err)
	}
}

// unpackHostile unpacks without the checks of an import before it, and looks whether anything got out.
func unpackHostile(t *testing.T, image []byte, l Limits) {
	t.Helper()
	outer := t.TempDir()
	root := filepath.Join(outer, "v", "rootfs")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(file, image, 0o644); err != nil {
		t.Fatal(err)
	}
	_ = unpack(t.Context(), imageFiles{{roleUnified, file, int64(len(image))}}, root, IDMap{}, l)
	found, err := filepath.Glob(filepath.Join(outer, "*", "*"))
	if err != nil || len(found) != 1 {
		t.Errorf("got out of the root: %v, %v", found, err)
	}
	if _, err := os.Lstat("/etc/evil"); err == nil {
		t.Error("got into the host's /etc")
	}
	_ = filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		var s unix.Stat_t
		if err == nil && unix.Lstat(path, &s) == nil && (s.Mode&unix.S_IFMT == unix.S_IFBLK || s.Mode&unix.S_IFMT == unix.S_IFCHR) {
			t.Errorf("%s is a device", path)
		}
		return nil
	})
}

func TestUnpack(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to give files away")
	}
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // net_bind_service+ep, revision 2
	image := archiveOf(t, metadataEntry,
		entry{name: "rootfs/", kind: tar.TypeDir, mode: 0o751},
		entry{name: "rootfs/bin/su", content: "x", mode: 0o4755},
		entry{name: "rootfs/bin/ping", content: "y", uid: 5, xattrs: map[string]string{"security.capability": capability, "user.note": "n", "trusted.overlay.opaque": "y"}},
		entry{name: "rootfs/bin/link", link: "rootfs/bin/su", kind: tar.TypeLink},
		entry{name: "rootfs/etc/mtab", link: "/proc/mounts", kind: tar.TypeSymlink, uid: 7},
		entry{name: "rootfs/dev/null", kind: tar.TypeChar},
		entry{name: "rootfs/run/pipe", kind: tar.TypeFifo, mode: 0o600},
		entry{name: "templates/x", content: "unused"},
	)
	s := NewImages(filepath.Join(t.TempDir(), "images"))
	i, err := importInto(t, s, image)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	ids := IDMap{UID: 1000000, GID: 2000000, Size: 65536}
	if err := s.Unpack(t.Context(), i.Name, root, ids); err != nil {
		t.Fatal(err)
	}
	stat := func(name string) syscall.Stat_t {
		t.Helper()
		info, err := os.Lstat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return *info.Sys().(*syscall.Stat_t)
	}
	for name, want := range map[string]struct {
		uid, gid, mode uint32
	}{
		".":        {1000000, 2000000, unix.S_IFDIR | 0o751},
		"bin":      {1000000, 2000000, unix.S_IFDIR | 0o755},
		"bin/su":   {1000000, 2000000, unix.S_IFREG | 0o4755},
		"bin/ping": {1000005, 2000000, unix.S_IFREG | 0o755},
		"etc/mtab": {1000007, 2000000, unix.S_IFLNK | 0o777},
		"run/pipe": {1000000, 2000000, unix.S_IFIFO | 0o600},
	} {
		if s := stat(name); s.Uid != want.uid || s.Gid != want.gid || s.Mode != want.mode {
			t.Errorf("%s: %d:%d mode %o, want %+v", name, s.Uid, s.Gid, s.Mode, want)
		}
	}
	if stat("bin/su").Ino != stat("bin/link").Ino {
		t.Error("the hard link is a file of its own")
	}
	if _, err := os.Lstat(filepath.Join(root, "dev/null")); err == nil {
		t.Error("the device node is there")
	}
	checkCapability := func(root uint32) {
		t.Helper()
		value := make([]byte, 64)
		n, err := unix.Lgetxattr(filepath.Join(rootOf(t, s, i.Name, root), "bin/ping"), capabilityAttribute, value)
		if err != nil {
			t.Fatal(err)
		}
		want := capabilitySize3
		if root == 0 {
			want = capabilitySize2
		}
		if n != want {
			t.Errorf("capability of root %d has %d bytes: %x", root, n, value[:n])
		}
	}
	checkCapability(1000000)
	checkCapability(0)
	// And back: to other ids, and to none.
	for _, to := range []IDMap{{UID: 3000000, GID: 3000000, Size: 65536}, {}, ids} {
		for range 2 { // a repeat, as after an interruption
			if err := reown(t.Context(), root, ids, to); err != nil {
				t.Fatal(err)
			}
		}
		if s := stat("bin/ping"); s.Uid != to.UID+5 || s.Gid != to.GID {
			t.Errorf("moved to %+v: %d:%d", to, s.Uid, s.Gid)
		}
		if s := stat("bin/su"); s.Mode&0o4000 == 0 {
			t.Errorf("moved to %+v: the set-user-id bit is gone", to)
		}
		ids = to
	}
}

// rootOf unpacks an image for a container whose root is the given id.
func rootOf(t *testing.T, s *Images, fingerprint string, id uint32) string {
	t.Helper()
	root, ids := t.TempDir(), IDMap{}
	if id > 0 {
		ids = IDMap{UID: id, GID: id, Size: 65536}
	}
	if err := s.Unpack(t.Context(), fingerprint, root, ids); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestUnmappedOwnerIsRefused(t *testing.T) {
	s := NewImages(filepath.Join(t.TempDir(), "images"))
	i, err := importInto(t, s, archiveOf(t, metadataEntry, entry{name: "rootfs/f", uid: 70000}))
	if err != nil {
		t.Fatal(err)
	}
	ids := IDMap{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Size: 65536}
	if err := s.Unpack(t.Context(), i.Name, t.TempDir(), ids); fabric.ReasonOf(err) != "unmapped-id" {
		t.Errorf("got %v", err)
	}
}

func TestFormats(t *testing.T) {
	plain := goodImage(t)
	for _, c := range []struct {
		name string
		pack func(t *testing.T, data []byte) []byte
	}{
		{"tar", func(_ *testing.T, data []byte) []byte { return data }},
		{"gzip", func(t *testing.T, data []byte) []byte { return zipped(t, data) }},
		{"xz", filter("xz")},
		{"zstd", filter("zstd")},
		{"bzip2", filter("bzip2")},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewImages(filepath.Join(t.TempDir(), "images"))
			data := c.pack(t, plain)
			i, err := importInto(t, s, data)
			if err != nil {
				t.Fatal(err)
			}
			if i.Architecture != "x86_64" || i.Properties["release"] != "12" || i.MadeAt.Unix() != 1700000000 || i.ExpiresAt.Unix() != 1800000000 || i.Split || i.Size != int64(len(data)) {
				t.Errorf("image is %+v", i)
			}
			if c.name != "tar" {
				if _, err := importInto(t, s, data[:len(data)/2]); fabric.ReasonOf(err) != "image-broken" {
					t.Errorf("half of it: %v", err)
				}
			}
		})
	}
}

func filter(program string) func(*testing.T, []byte) []byte {
	return func(t *testing.T, data []byte) []byte {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
		cmd := exec.Command(program, "-c")
		cmd.Stdin = bytes.NewReader(data)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

func TestSplitImage(t *testing.T) {
	metadata := archiveOf(t, metadataEntry)
	rootfs := archiveOf(t, entry{name: "./", kind: tar.TypeDir}, entry{name: "./hello", content: "world"})
	for name, make := range map[string]func(t *testing.T) []byte{
		"tar": func(*testing.T) []byte { return rootfs },
		"squashfs": func(t *testing.T) []byte {
			for _, p := range []string{"mksquashfs", "sqfs2tar"} {
				if _, err := exec.LookPath(p); err != nil {
					t.Skip(err)
				}
			}
			tree, file := t.TempDir(), filepath.Join(t.TempDir(), "rootfs")
			if err := os.WriteFile(filepath.Join(tree, "hello"), []byte("world"), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("mksquashfs", tree, file, "-quiet").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			return data
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewImages(filepath.Join(t.TempDir(), "images"))
			i, err := importInto(t, s, metadata, make(t))
			if err != nil {
				t.Fatal(err)
			}
			if !i.Split {
				t.Error("it is not split")
			}
			root := t.TempDir()
			if err := s.Unpack(t.Context(), i.Name, root, IDMap{}); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(root, "hello")); string(got) != "world" {
				t.Errorf("got %q, %v", got, err)
			}
			files, err := s.Open(i.Name)
			if err != nil {
				t.Fatal(err)
			}
			other := NewImages(filepath.Join(t.TempDir(), "images"))
			again, err := other.take(t.Context(), files, i.Name)
			if err != nil || again.Name != i.Name {
				t.Errorf("copy is %+v, %v", again, err)
			}
		})
	}
}

func TestFingerprint(t *testing.T) {
	s := NewImages(filepath.Join(t.TempDir(), "images"))
	data := goodImage(t)
	i, err := importInto(t, s, data)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := importInto(t, s, data); err != nil || again.Name != i.Name {
		t.Errorf("again: %+v, %v", again, err)
	}
	cmd := exec.Command("sha256sum")
	cmd.Stdin = bytes.NewReader(data)
	sum, err := cmd.Output()
	if err != nil || !strings.HasPrefix(string(sum), i.Name) {
		t.Errorf("fingerprint is %s, sha256sum says %s (%v)", i.Name, sum, err)
	}
	file := fabric.ImageFile{Body: io.NopCloser(bytes.NewReader(data))}
	if _, err := s.take(t.Context(), []fabric.ImageFile{file}, strings.Repeat("0", 64)); fabric.ReasonOf(err) != "fingerprint-mismatch" {
		t.Errorf("got %v", err)
	}
	for range 2 {
		if err := s.Delete(i.Name); err != nil {
			t.Error(err)
		}
	}
	if s.Has(i.Name) {
		t.Error("it is still there")
	}
	if _, err := s.Open("../../etc"); fabric.ReasonOf(err) != "bad-fingerprint" {
		t.Errorf("got %v", err)
	}
}

func FuzzArchive(f *testing.F) {
	f.Add(goodImage(f))
	f.Add(archiveOf(f, metadataEntry, rootfsEntry, entry{name: "rootfs/l", link: "/etc", kind: tar.TypeSymlink}, entry{name: "rootfs/l/f", content: "x"}))
	f.Add(archiveOf(f, metadataEntry, entry{name: "rootfs/a"}, entry{name: "rootfs/b", link: "rootfs/a", kind: tar.TypeLink}))
	f.Fuzz(func(t *testing.T, data []byte) {
		unpackHostile(t, data, Limits{Entries: 100, Bytes: 1 << 20, Ratio: 100, RatioFrom: 1 << 20})
	})
}
