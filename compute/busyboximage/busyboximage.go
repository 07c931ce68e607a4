// Package busyboximage builds a tiny container image from the static busybox of the host, for demos and tests.
package busyboximage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
	"time"
)

// Options say what the image is like.
type Options struct {
	Busybox      string    // file of a statically linked busybox; default /bin/busybox
	Architecture string    // as images name it, default x86_64
	MadeAt       time.Time // default: the beginning of time counting, so that builds are repeatable
	HTTP         bool      // serve the instance's host name on port 80, on all addresses
	Program      string    // file of a statically linked program that runs from the start
	Boot         string    // more lines for the boot script
}

const inittab = `::sysinit:/etc/init.d/rcS
::ctrlaltdel:/bin/reboot
::shutdown:/bin/umount -a -r
`

// Build writes the image as a unified, gzip-compressed tarball. The same options and busybox give the same bytes.
func Build(w io.Writer, o Options) error {
	if o.Busybox == "" {
		o.Busybox = "/bin/busybox"
	}
	if o.Architecture == "" {
		o.Architecture = "x86_64"
	}
	if o.MadeAt.IsZero() {
		o.MadeAt = time.Unix(0, 0).UTC()
	}
	program, err := os.ReadFile(o.Busybox)
	if err != nil {
		return fmt.Errorf("build busybox image: %w", err)
	}
	list, err := exec.Command(o.Busybox, "--list").Output()
	if err != nil {
		return fmt.Errorf("build busybox image: ask %s for its applets: %w", o.Busybox, err)
	}
	b := &builder{at: o.MadeAt}
	zip := gzip.NewWriter(w)
	b.tar = tar.NewWriter(zip)
	b.file("metadata.yaml", 0o644, fmt.Sprintf("architecture: %s\ncreation_date: %d\nproperties:\n  os: busybox\n  description: busybox of the build host\n", o.Architecture, max(1, o.MadeAt.Unix())))
	b.rootfs(program, strings.Fields(string(list)), o)
	for _, end := range []func() error{b.tar.Close, zip.Close} {
		if err := end(); b.err == nil {
			b.err = err
		}
	}
	if b.err != nil {
		return fmt.Errorf("build busybox image: %w", b.err)
	}
	return nil
}

// builder writes entries until the first error.
type builder struct {
	tar *tar.Writer
	at  time.Time
	err error
}

func (b *builder) rootfs(program []byte, applets []string, o Options) {
	for _, dir := range []string{"", "bin", "dev", "etc", "etc/init.d", "mnt", "proc", "root", "run", "sbin", "sys", "usr", "usr/bin", "usr/sbin", "var", "var/www"} {
		b.entry(tar.Header{Typeflag: tar.TypeDir, Name: path.Join("rootfs", dir) + "/", Mode: 0o755}, "")
	}
	b.entry(tar.Header{Typeflag: tar.TypeDir, Name: "rootfs/tmp/", Mode: 0o1777}, "")
	b.file("rootfs/bin/busybox", 0o755, string(program))
	for _, applet := range applets {
		if applet != "busybox" {
			b.entry(tar.Header{Typeflag: tar.TypeSymlink, Name: "rootfs/bin/" + applet, Linkname: "busybox", Mode: 0o777}, "")
		}
	}
	b.entry(tar.Header{Typeflag: tar.TypeSymlink, Name: "rootfs/sbin/init", Linkname: "../bin/busybox", Mode: 0o777}, "")
	b.file("rootfs/etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
	b.file("rootfs/etc/group", 0o644, "root:x:0:\nnogroup:x:65534:\n")
	b.file("rootfs/etc/inittab", 0o644, inittab)
	b.file("rootfs/etc/init.d/rcS", 0o755, bootScript(o))
	if o.Program != "" {
		program, err := os.ReadFile(o.Program)
		if b.err == nil {
			b.err = err
		}
		b.file("rootfs/bin/program", 0o755, string(program))
	}
}

// bootScript is run by init once at the start. What it starts in the background is reparented to init.
func bootScript(o Options) string {
	var s strings.Builder
	s.WriteString("#!/bin/sh\nPATH=/bin:/sbin\nexport PATH\nip link set lo up\n")
	if o.HTTP {
		s.WriteString("hostname > /var/www/index.html\nhttpd -p '[::]:80' -h /var/www\n")
	}
	if o.Program != "" {
		s.WriteString("program &\n")
	}
	s.WriteString(o.Boot)
	s.WriteString("\necho booted > /run/booted\n")
	return s.String()
}

func (b *builder) file(name string, mode int64, content string) {
	b.entry(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}, content)
}

func (b *builder) entry(h tar.Header, content string) {
	if b.err != nil {
		return
	}
	h.ModTime = b.at
	if b.err = b.tar.WriteHeader(&h); b.err == nil {
		_, b.err = io.Copy(b.tar, bytes.NewReader([]byte(content)))
	}
}
