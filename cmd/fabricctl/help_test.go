package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// everyCommand visits the commands of the program that a user can see.
func everyCommand(visit func(*cobra.Command)) {
	a := &app{env: func(string) string { return "" }}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		visit(c)
		for _, child := range c.Commands() {
			if !strings.HasPrefix(child.CommandPath(), "fabricctl completion") {
				walk(child)
			}
		}
	}
	walk(a.root())
}

func TestEveryCommandIsDescribed(t *testing.T) {
	count := 0
	everyCommand(func(c *cobra.Command) {
		count++
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: Short is %q", c.CommandPath(), c.Short)
		}
		if !c.HasSubCommands() && c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
	})
	if count < 80 {
		t.Errorf("looked at %d commands only", count)
	}
}

// An example must be understood: its command exists, its flags too, and its arguments are as many as the command takes.
func TestExamplesAreUnderstood(t *testing.T) {
	everyCommand(func(c *cobra.Command) {
		if c.Example == "" {
			return
		}
		own := false
		for line := range strings.SplitSeq(c.Example, "\n") {
			for part := range strings.SplitSeq(line, " | ") {
				_, command, ok := strings.Cut(" "+part, " fabricctl ")
				if !ok {
					continue
				}
				command, _, _ = strings.Cut(command, " < ")
				args, err := words(command)
				if err != nil {
					t.Errorf("%s: %v", c.CommandPath(), err)
					continue
				}
				a := &app{env: func(string) string { return "" }}
				found, rest, err := a.root().Find(args)
				if err == nil {
					err = found.ParseFlags(rest)
				}
				if err == nil {
					err = found.ValidateArgs(found.Flags().Args())
				}
				if err != nil {
					t.Errorf("%s: example %q: %v", c.CommandPath(), command, err)
					continue
				}
				own = own || found.CommandPath() == c.CommandPath()
			}
		}
		if !own && c.HasParent() {
			t.Errorf("%s: no example shows the command itself:\n%s", c.CommandPath(), c.Example)
		}
	})
}
