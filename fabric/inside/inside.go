// Package inside runs commands in an instance as one of its own processes would run, knowing nothing of it but its init process.
//
// The way in has two steps, of which each is a process of its own. Helper is this program started anew: unlike its parent it has nothing in
// memory that an instance must not see. It takes on the limits of the instance (control groups, capabilities, no_new_privs, a filter for system
// calls, the profile of AppArmor). Its child, which has one thread only, enters all namespaces of the init at once by its pidfd (setns(2)) and
// becomes the command. It can't be traced from inside until then, and takes nothing along but its three standard files. Everything that comes
// of the command is in a control group made for it, which is killed when the command ends or its time is over.
package inside

import (
	"bytes"
	"errors"
	"strings"
	"unicode"
)

// HelperCommand is the argument with which a program runs Helper.
const HelperCommand = "inside"

// ErrTimeout tells that the command did not end in time.
var ErrTimeout = errors.New("it did not end in time")

// order is what the helper is told, on its standard input. The pidfd of the init is its file 3.
type order struct {
	Command    []string `json:"command"`
	Env        []string `json:"env"`
	Groups     []string `json:"groups"`     // files to write a process id to: the control groups of version 1
	Namespaces int      `json:"namespaces"` // of the init that are not the helper's own, for setns(2)
	Bounding   uint64   `json:"bounding"`   // capabilities that the init could have at most
	Label      string   `json:"label"`      // AppArmor profile; empty: none
	Bound      int      `json:"bound"`      // milliseconds after which the helper ends by itself, should nobody end it
}

// outcome is what the helper says on its file 4.
type outcome struct {
	Status int    `json:"status"` // exit status; 128 and the number of the signal that killed it
	Error  string `json:"error"`  // why the command was not run
}

// lineLimit is how much is kept of the last line of the command's output, in bytes.
const lineLimit = 200

// tail keeps the last line that was written to it.
type tail struct {
	line  []byte
	ended bool // the line has a line feed behind it: more begins another
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, after, more := bytes.Cut(rest, []byte("\n"))
		if len(bytes.TrimSpace(line)) > 0 {
			if t.ended {
				t.line, t.ended = t.line[:0], false
			}
			t.line = append(t.line, line[:min(len(line), lineLimit-min(lineLimit, len(t.line)))]...)
		}
		t.ended = t.ended || more
		rest = after
	}
	return len(p), nil
}

// String is the line as text that can be shown anywhere.
func (t *tail) String() string {
	text := strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(t.line), "?"))
	return strings.TrimSpace(text)
}
