package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// onlyShown are the fields that v, which show shows, has beyond put, which edit takes: what is shown comes back with them, and says nothing by them.
func onlyShown(v, put any) []string {
	return slices.DeleteFunc(jsonNames(v), func(name string) bool { return slices.Contains(jsonNames(put), name) })
}

// jsonNames are the names in JSON of the fields of a struct and of those embedded in it.
func jsonNames(v any) []string {
	t := reflect.TypeOf(v)
	if t == nil {
		return nil
	}
	var names []string
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// withoutShown drops fields that are only shown. Another name than name is a mistake, unless that is empty: what is edited is what the command line names.
func withoutShown(fields map[string]any, only []string, name string) error {
	if got, ok := fields["name"]; ok && name != "" && slices.Contains(only, "name") && got != name {
		return fmt.Errorf("name is %q, but this is %q: another name is not to be had by editing", fmt.Sprint(got), name)
	}
	for _, field := range only {
		delete(fields, field)
	}
	return nil
}
