package busyboximage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func TestBuild(t *testing.T) {
	if _, err := os.Stat("/bin/busybox"); err != nil {
		t.Skip(err)
	}
	var first, second bytes.Buffer
	for _, w := range []io.Writer{&first, &second} {
		if err := Build(w, Options{HTTP: true, Program: "/bin/busybox", Boot: "echo more"}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two builds differ")
	}
	unzipped, err := gzip.NewReader(&first)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(unzipped); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(content) + h.Linkname
	}
	if files["rootfs/bin/sh"] != "busybox" || !strings.Contains(files["metadata.yaml"], "architecture: x86_64") {
		t.Errorf("sh is %q, metadata is %q", files["rootfs/bin/sh"], files["metadata.yaml"])
	}
	if boot := files["rootfs/etc/init.d/rcS"]; !strings.Contains(boot, "httpd") || !strings.Contains(boot, "echo more\n") || !strings.Contains(boot, "program &") || len(files["rootfs/bin/program"]) == 0 {
		t.Errorf("boot script is %q", boot)
	}
}

func TestNoBusybox(t *testing.T) {
	if err := Build(io.Discard, Options{Busybox: "/nothere"}); err == nil {
		t.Error("an image without busybox")
	}
}
