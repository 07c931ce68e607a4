package main

import (
	"context"
	"fmt"

	"netfabric/fabric/api"

	"github.com/spf13/cobra"
)

// plainObject is a sort of object without config keys. T is one as it is shown, P what can be changed of it.
type plainObject[T, P any] struct {
	command string // path of the command above
	noun    string // what one is called in messages, before its name
	what    string // the same with an article, in help
	sample  string // a name, for examples
	names   source
	read    func(c *api.Client, ctx context.Context, name string) (*T, string, error)
	put     func(*T) P
	write   func(c *api.Client, ctx context.Context, name string, put P, etag string) error
	view    func(*T) any // what is shown where that is more than the object
	// warnings are said of one that has been changed; nil where there are none.
	warnings func(*T) []string
}

// warn says what is to be said of one that has been changed. That it can't be read now is no error: the change is made.
func (o plainObject[T, P]) warn(ctx context.Context, a *app, name string) {
	if o.warnings == nil {
		return
	}
	if object, _, err := o.read(a.client(), ctx, name); err == nil {
		for _, w := range o.warnings(object) {
			fmt.Fprintf(a.err, "Warning: %s\n", printable(w))
		}
	}
}

// shown is what is shown of one.
func (o plainObject[T, P]) shown(object *T) any {
	if o.view == nil {
		return *object
	}
	return o.view(object)
}

// show is the command that shows one.
func (o plainObject[T, P]) show(a *app, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NAME", Short: short,
		Example: "  fabricctl " + o.command + " show " + o.sample, ValidArgsFunction: a.complete(o.names),
	}
	f := formatFlag(cmd, "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		object, _, err := o.read(a.client(), cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return show(a.out, *f, o.shown(object))
	}
	return cmd
}

// edit is the command that edits one. more is what its help says besides.
func (o plainObject[T, P]) edit(a *app, more string) *cobra.Command {
	sample := "  fabricctl " + o.command + " edit " + o.sample
	cmd := &cobra.Command{
		Use: "edit NAME", Short: "Edit " + o.what + " as YAML",
		Example: sample + "\n" + sample + " < " + o.sample + ".yaml", ValidArgsFunction: a.complete(o.names),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := a.client()
			return edit(cmd.Context(), a, o.noun+" "+args[0], args[0], o.shown(new(T)), func(ctx context.Context) (put P, etag string, err error) {
				object, etag, err := o.read(client, ctx, args[0])
				if err != nil {
					return put, "", err
				}
				return o.put(object), etag, nil
			}, func(ctx context.Context, put P, etag string) error {
				err := o.write(client, ctx, args[0], put, etag)
				if err == nil {
					o.warn(ctx, a, args[0])
				}
				return err
			})
		},
	}
	if more != "" {
		cmd.Long = cmd.Short + more
	}
	return cmd
}
