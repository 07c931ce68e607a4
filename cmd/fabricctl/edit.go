package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"netfabric/fabric"
)

// edit lets the user change an object as YAML, in an editor or, where stdin is no terminal, by what stdin has. read gives the object and its
// ETag; write gets what became of it, and must refuse when the object has changed meanwhile. shown is what show shows, nil where that is the object:
// the YAML may have what is only shown, as long as its name is name.
func edit[T any](ctx context.Context, a *app, what, name string, shown any, read func(context.Context) (T, string, error), write func(context.Context, T, string) error) error {
	before, etag, err := read(ctx)
	if err != nil {
		return err
	}
	only := onlyShown(shown, before)
	if terminal(a.in) == nil {
		data, err := io.ReadAll(a.in)
		if err != nil {
			return fmt.Errorf("read %s from stdin: %w", what, err)
		}
		var after T
		if err := readYAML(data, &after, only, name); err != nil {
			return fabric.Invalidf("bad-yaml", "%s from stdin: %w", what, err)
		}
		return write(ctx, after, etag)
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "# This is %s as YAML. Lines that begin with # are dropped.\n# Save and leave the editor to apply it; leave it unchanged to change nothing.\n\n", what)
	if err := writeYAML(&text, before); err != nil {
		return err
	}
	file, err := os.CreateTemp("", "fabricctl-*.yaml")
	if err != nil {
		return fmt.Errorf("make a file to edit %s in: %w", what, err)
	}
	keep := false
	defer func() {
		if !keep {
			os.Remove(file.Name())
		}
	}()
	_, err = file.Write(text.Bytes())
	if err := cmp.Or(err, file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", file.Name(), err)
	}
	for {
		if err := a.editor(ctx, file.Name()); err != nil {
			return err
		}
		data, err := os.ReadFile(file.Name())
		if err != nil {
			return fmt.Errorf("read what you edited: %w", err)
		}
		if bytes.Equal(data, text.Bytes()) {
			return nil
		}
		var after T
		if err = readYAML(data, &after, only, name); err == nil {
			err = write(ctx, after, etag)
		}
		switch fabric.CodeOf(err) {
		case "":
			return nil
		case fabric.CodeStale:
			keep = true
			return a.changedMeanwhile(ctx, what, file.Name(), before, func(ctx context.Context) (any, error) {
				now, _, err := read(ctx)
				return now, err
			})
		}
		fmt.Fprintf(a.err, "%s was not changed: %s\nPress Enter to edit it again, or Ctrl-C to give up; your text is in %s: ", what, oneLine(err.Error()), file.Name())
		if !a.pressedEnter(ctx) {
			keep = true
			return fmt.Errorf("%s was not changed; your text is kept in %s", what, file.Name())
		}
	}
}

// changedMeanwhile says what somebody else did to an object while the user edited it.
func (a *app) changedMeanwhile(ctx context.Context, what, file string, before any, read func(context.Context) (any, error)) error {
	stale := fabric.Errorf(fabric.CodeStale, "stale", "%s was changed by somebody else while you edited it", what)
	if now, err := read(ctx); err == nil {
		if d := differences(before, now); len(d) > 0 {
			stale.Message += ": " + strings.Join(d, ", ")
		}
	}
	return stale.WithFix("your text is kept in %s: look at it, then edit again", file)
}

// differences lists the fields in which two objects differ, with their newer values.
func differences(before, after any) []string {
	fields := func(v any) ([][]string, map[string]string) {
		node, err := yamlNode(v)
		if err != nil {
			return nil, nil
		}
		rows, values := flatten(nil, "", node), map[string]string{}
		for _, r := range rows {
			values[r[0]] = r[1]
		}
		return rows, values
	}
	oldRows, oldValues := fields(before)
	newRows, newValues := fields(after)
	var list []string
	for _, r := range newRows {
		if old, ok := oldValues[r[0]]; !ok || old != r[1] {
			list = append(list, fmt.Sprintf("%s is now %q", r[0], r[1]))
		}
	}
	for _, r := range oldRows {
		if _, ok := newValues[r[0]]; !ok {
			list = append(list, fmt.Sprintf("%s is gone", r[0]))
		}
	}
	return list
}

// editor runs the user's editor on a file.
func (a *app) editor(ctx context.Context, file string) error {
	command := cmp.Or(a.env("VISUAL"), a.env("EDITOR"))
	if command == "" {
		for _, name := range []string{"sensible-editor", "editor", "vi", "nano"} {
			if path, err := exec.LookPath(name); err == nil {
				command = path
				break
			}
		}
	}
	if command == "" {
		return fabric.Invalidf("no-editor", "there is no editor").WithFix("set EDITOR, or give the YAML on stdin")
	}
	// Through the shell, because EDITOR may have arguments; the file's name is one of them and not part of the script.
	c := exec.CommandContext(ctx, "sh", "-c", command+` "$1"`, "sh", file)
	c.Stdin, c.Stdout, c.Stderr = a.in, a.out, a.err
	a.editing.Store(true)
	defer a.editing.Store(false)
	if err := c.Run(); err != nil {
		return fmt.Errorf("editor %q: %w", command, err)
	}
	return nil
}

// pressedEnter waits for a line from the terminal, or for the end of ctx.
func (a *app) pressedEnter(ctx context.Context) bool {
	line := make(chan bool, 1)
	go func() {
		_, err := bufio.NewReader(a.in).ReadString('\n')
		line <- err == nil
	}()
	select {
	case ok := <-line:
		return ok
	case <-ctx.Done():
		return false
	}
}
