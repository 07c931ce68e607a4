package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// operand is one positional argument as a command's Use line names it.
type operand struct {
	name     string
	optional bool
	repeated bool
}

// operands reads the positional arguments of a Use line such as "launch IMAGE [NAME] KEY=VALUE...". What follows "--" is one operand more.
func operands(use string) []operand {
	var list []operand
	for _, word := range strings.Fields(use)[1:] {
		if word == "--" {
			continue
		}
		o := operand{name: word}
		if inner, ok := strings.CutPrefix(o.name, "["); ok {
			o.name, o.optional = strings.TrimSuffix(inner, "]"), true
		}
		o.name, o.repeated = strings.CutSuffix(o.name, "...")
		list = append(list, o)
	}
	return list
}

// arity makes a command take exactly the arguments that its Use line names, and say by name which one is missing.
func arity(cmd *cobra.Command, args []string) error {
	var required []string
	most := 0
	for _, o := range operands(cmd.Use) {
		if !o.optional {
			required = append(required, o.name)
		}
		if o.repeated {
			most = len(args)
		}
		most++
	}
	if len(args) < len(required) {
		missing := required[len(args):]
		verb := "is"
		if len(missing) > 1 {
			verb = "are"
		}
		return usagef(cmd, "%s %s missing", strings.Join(missing, " and "), verb)
	}
	if len(args) > most {
		return usagef(cmd, "unexpected argument %q", args[most])
	}
	return nil
}

// group is a noun: a command that only has commands below it.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: wantVerb}
	g.AddCommand(commands...)
	return g
}

// wantVerb answers a noun without a verb, or with one that does not exist.
func wantVerb(cmd *cobra.Command, args []string) error {
	var verbs []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			verbs = append(verbs, c.Name())
		}
	}
	if len(args) == 0 {
		return usagef(cmd, "a command is missing: %s", strings.Join(verbs, ", "))
	}
	if near := nearest(args[0], verbs); near != "" {
		return usagef(cmd, "unknown command %q; did you mean %q?", args[0], near)
	}
	return usagef(cmd, "unknown command %q", args[0])
}

// nearest is the word that takes the fewest edits to become typed, or begins with it; empty where none is near.
func nearest(typed string, words []string) string {
	best, fewest := "", 3
	for _, w := range words {
		edits := edits(strings.ToLower(typed), w)
		if len(typed) > 1 && strings.HasPrefix(w, typed) {
			edits = 0
		}
		if edits < fewest && 2*edits < len(typed) {
			best, fewest = w, edits
		}
	}
	return best
}

// edits is the number of letters to insert, delete or replace to make b of a (Levenshtein's distance).
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// assignment is one KEY=VALUE of a command line.
type assignment struct{ key, value string }

// assignments reads KEY=VALUE arguments. A value of "-" is read from stdin. A key twice is a mistake.
func (a *app) assignments(cmd *cobra.Command, args []string) ([]assignment, error) {
	var list []assignment
	seen := map[string]bool{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, usagef(cmd, "%q is not KEY=VALUE", arg)
		}
		if seen[key] {
			return nil, usagef(cmd, "key %q is given twice", key)
		}
		seen[key] = true
		if value == "-" {
			data, err := io.ReadAll(a.in)
			if err != nil {
				return nil, fmt.Errorf("read the value of %s from stdin: %w", key, err)
			}
			value = strings.TrimSuffix(string(data), "\n")
		}
		list = append(list, assignment{key, value})
	}
	return list, nil
}

// config makes a config map of KEY=VALUE arguments.
func (a *app) config(cmd *cobra.Command, args []string) (map[string]string, error) {
	list, err := a.assignments(cmd, args)
	if err != nil {
		return nil, err
	}
	m := make(map[string]string, len(list))
	for _, kv := range list {
		m[kv.key] = kv.value
	}
	return m, nil
}

// named splits the arguments of a command of the form "[NAME] KEY=VALUE..." and its older form "[NAME] KEY VALUE". An empty name is the
// server's own config. isKey tells the server's keys from names where both have no "=".
func named(args []string, isKey func(string) bool) (name string, rest []string) {
	first := strings.Contains(args[0], "=")
	switch {
	case first:
		return "", args
	case len(args) == 2 && !strings.Contains(args[1], "=") && isKey(args[0]):
		return "", []string{args[0] + "=" + args[1]}
	case len(args) == 1 && isKey(args[0]):
		return "", args
	}
	return args[0], pair(args[1:])
}

// pair turns "KEY VALUE", as older clients have it, into KEY=VALUE.
func pair(args []string) []string {
	if len(args) == 2 && !strings.Contains(args[0], "=") {
		return []string{args[0] + "=" + args[1]}
	}
	return args
}
