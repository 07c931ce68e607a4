package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// formats are the words of --format.
var formats = []string{"table", "json", "yaml", "csv", "compact"}

// format is the value of a --format flag.
type format string

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "FORMAT" }

// Set implements pflag.Value.
func (f *format) Set(v string) error {
	if !slices.Contains(formats, v) {
		return fmt.Errorf("want one of %s", strings.Join(formats, ", "))
	}
	*f = format(v)
	return nil
}

// formatFlag gives a command its --format.
func formatFlag(cmd *cobra.Command, preset format) *format {
	f := preset
	cmd.Flags().VarP(&f, "format", "f", "output as table, json, yaml, csv or compact")
	// The only error is that there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return &f
}

// column is how a table shows one property of an object.
type column[T any] struct {
	title string
	cell  func(T) string
}

// list prints objects, sorted by their cells from left to right. In json and yaml they are as the API has them.
func list[T any](w io.Writer, f format, objects []T, cols []column[T]) error {
	type row struct {
		object T
		cells  []string
	}
	rows := make([]row, len(objects))
	for i, o := range objects {
		rows[i].object = o
		for _, c := range cols {
			rows[i].cells = append(rows[i].cells, c.cell(o))
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int { return slices.CompareFunc(a.cells, b.cells, natural) })
	t := table{}
	sorted := make([]T, 0, len(rows)) // never null in json
	for _, c := range cols {
		t.titles = append(t.titles, c.title)
	}
	for _, r := range rows {
		t.rows = append(t.rows, r.cells)
		sorted = append(sorted, r.object)
	}
	return output(w, f, sorted, t)
}

// show prints one object. A table of it has a row for each field.
func show(w io.Writer, f format, object any) error {
	t := table{titles: []string{"FIELD", "VALUE"}}
	if f != "json" && f != "yaml" {
		node, err := yamlNode(object)
		if err != nil {
			return err
		}
		t.rows = flatten(nil, "", node)
	}
	return output(w, f, object, t)
}

func output(w io.Writer, f format, object any, t table) error {
	switch f {
	case "json":
		return writeJSON(w, object)
	case "yaml":
		return writeYAML(w, object)
	case "csv":
		c := csv.NewWriter(w)
		if err := c.WriteAll(t.rows); err != nil {
			return fmt.Errorf("write the output: %w", err)
		}
		return nil
	case "compact":
		return t.compact(w)
	}
	return t.box(w)
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
