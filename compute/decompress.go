package compute

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"netfabric/fabric"
)

// format is a way in which a tar stream can be packed.
type format struct {
	name   string
	offset int
	magic  string
	// open gives the tar stream: by this program, or by another one that reads the file on its standard input.
	open    func(io.Reader) (io.Reader, error)
	program []string
	pkg     string // Debian package of the program
}

// formats are told apart by what they begin with, never by a name.
var formats = []format{
	{name: "gzip", magic: "\x1f\x8b", open: func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{name: "bzip2", magic: "BZh", open: func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
	{name: "xz", magic: "\xfd7zXZ\x00", program: []string{"xz", "-dc", "--memlimit-decompress=512MiB"}, pkg: "xz-utils"},
	{name: "zstd", magic: "\x28\xb5\x2f\xfd", program: []string{"zstd", "-dcq", "--memory=512MB"}, pkg: "zstd"},
	{name: "squashfs", magic: "hsqs", program: []string{"sqfs2tar", "/proc/self/fd/0"}, pkg: "squashfs-tools-ng"},
	{name: "tar", offset: 257, magic: "ustar", open: func(r io.Reader) (io.Reader, error) { return r, nil }},
}

// decompress opens a file as a tar stream. Closing it early is fine; reading to the end tells of damage.
func decompress(path string) (io.ReadCloser, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	head := make([]byte, 512)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, file.Close())
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	for _, f := range formats {
		if n < f.offset || !bytes.HasPrefix(head[f.offset:n], []byte(f.magic)) {
			continue
		}
		if f.program != nil {
			return runUnpacker(f, file)
		}
		r, err := f.open(bufio.NewReaderSize(file, 1<<16))
		if err != nil {
			return nil, errors.Join(fabric.Invalidf("image-broken", "image refused: its %s header is damaged: %w", f.name, err), file.Close())
		}
		return struct {
			io.Reader
			io.Closer
		}{r, file}, nil
	}
	return nil, errors.Join(fabric.Invalidf("image-format", "image refused: it is in no known format").WithFix("use a tar archive (plain, gzip, bzip2, xz or zstd), or squashfs for the rootfs of a split image"), file.Close())
}

// unpacker is a program that unpacks on its standard output. It reads what a stranger made, so it runs as nobody.
type unpacker struct {
	cmd    *exec.Cmd
	out    io.ReadCloser
	errors strings.Builder
	input  *os.File
	ended  bool
}

func runUnpacker(f format, file *os.File) (io.ReadCloser, error) {
	if _, err := exec.LookPath(f.program[0]); err != nil {
		return nil, errors.Join(fabric.Errorf(fabric.CodeNotSupported, "image-format", "image refused: this member can't read %s: %w", f.name, err).
			WithFix("install the package %s on it", f.pkg), file.Close())
	}
	u := &unpacker{cmd: exec.Command(f.program[0], f.program[1:]...), input: file}
	u.cmd.Stdin, u.cmd.Stderr, u.cmd.Dir, u.cmd.Env = file, &u.errors, "/", []string{"PATH=" + os.Getenv("PATH")}
	u.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		const nobody = 65534
		u.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	out, err := u.cmd.StdoutPipe()
	if err == nil {
		u.out = out
		err = u.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("run %s: %w", f.program[0], err), file.Close())
	}
	return u, nil
}

// Read implements io.Reader. The end is an end only when the program was content.
func (u *unpacker) Read(p []byte) (int, error) {
	n, err := u.out.Read(p)
	if !errors.Is(err, io.EOF) || u.ended {
		return n, err
	}
	u.ended = true
	if err := u.cmd.Wait(); err != nil {
		said := strings.ReplaceAll(strings.TrimSpace(u.errors.String()), "\n", "; ")
		return n, fabric.Invalidf("image-broken", "image refused: %s: %v: %.300s", u.cmd.Args[0], err, said)
	}
	return n, io.EOF
}

// Close implements io.Closer.
func (u *unpacker) Close() error {
	if !u.ended {
		u.ended = true
		// Killed on purpose: how it ends says nothing.
		_ = u.cmd.Process.Kill()
		_ = u.cmd.Wait()
	}
	return u.input.Close()
}
