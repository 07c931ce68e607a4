package fabric

import "io"

// ExecRequest is a command to run inside an instance. The streams are the caller's; Exec closes none of them.
type ExecRequest struct {
	Command     []string
	Environment map[string]string
	Cwd         string
	UID, GID    uint32
	Terminal    bool // run on a terminal: Stdout gets everything, Stderr nothing
	Width       int  // columns of the terminal; 0 is 80
	Height      int  // rows of the terminal; 0 is 25
	Stdin       io.Reader
	Stdout      io.Writer
	Stderr      io.Writer
	Control     <-chan ExecControl // may be nil; closed when the caller is gone
}

// ExecControl is a signal for the command or a new size of its terminal.
type ExecControl struct {
	Signal        int // 0: none
	Width, Height int // 0: unchanged
}

// ImageFile is one of the files of an image: the unified tarball, or "metadata" and "rootfs".
type ImageFile struct {
	Name string
	Size int64 // bytes, -1 where it is not known
	Body io.ReadCloser
}
