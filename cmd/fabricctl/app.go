package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"netfabric/fabric/api"

	"github.com/spf13/cobra"
)

// defaultSocket is where fabric-node listens, which may have been told otherwise by the same environment.
func (a *app) defaultSocket() string {
	return cmp.Or(a.env("FABRIC_SOCKET"), filepath.Join(cmp.Or(a.env("FABRIC_DIR"), "/var/lib/fabric"), "unix.socket"))
}

// app is one run of the program: its streams, its environment and its global flags.
type app struct {
	ctx context.Context
	in  io.Reader
	out io.Writer
	err io.Writer
	env func(string) string

	socket string
	noWait bool
	quiet  bool
	debug  bool

	printing sync.Mutex  // held by those who print while others may
	editing  atomic.Bool // an editor has the terminal
}

// concerns tells whether a signal is for this program. While an editor has the terminal, Ctrl-C is the editor's.
func (a *app) concerns(s os.Signal) bool { return s != os.Interrupt || !a.editing.Load() }

// run carries out one command line and gives the exit status.
func (a *app) run(args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetContext(a.ctx)
	return a.fail(root.Execute())
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "fabricctl",
		Short: "Drive a fabric cluster",
		Long: `fabricctl drives a fabric cluster through the daemon of the member it runs on. Any member will do: each answers for the whole cluster.
Commands are those of lxc where lxc has a word for the thing.`,
		Example: `  fabricctl cluster list
  fabricctl launch alpine web1 -n lan0 -s local
  fabricctl list
  fabricctl route list`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return wantVerb(cmd, args)
		},
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(flagError)
	flags := root.PersistentFlags()
	flags.StringVar(&a.socket, "socket", a.defaultSocket(), "unix `SOCKET` of fabric-node ($FABRIC_SOCKET, or unix.socket in $FABRIC_DIR)")
	flags.BoolVar(&a.noWait, "no-wait", false, "print the id of the background operation instead of waiting for it")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "say nothing on success")
	flags.BoolVar(&a.debug, "debug", false, "show the requests to the API on stderr")
	wait := flags.VarPF(&negation{&a.noWait}, "wait", "", "wait for background operations")
	wait.NoOptDefVal = "true"

	root.AddGroup(
		&cobra.Group{ID: "instances", Title: "Instances:"},
		&cobra.Group{ID: "resources", Title: "What instances use:"},
		&cobra.Group{ID: "routing", Title: "Routing:"},
		&cobra.Group{ID: "cluster", Title: "The cluster:"},
	)
	for id, commands := range map[string][]*cobra.Command{
		"instances": {a.launchCommand(), a.initCommand(), a.listCommand(), a.infoCommand(), a.startCommand(), a.stopCommand(), a.restartCommand(), a.deleteCommand(), a.execCommand()},
		"resources": {a.imageCommand(), a.networkCommand(), a.storageCommand(), a.profileCommand()},
		"routing":   {a.bgpCommand(), a.anycastCommand(), a.gatewayCommand(), a.routeCommand()},
		"cluster":   {a.clusterCommand(), a.configCommand(), a.operationCommand(), a.monitorCommand(), a.queryCommand()},
		"":          {a.versionCommand()},
	} {
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	checkArity(root)
	root.SetHelpCommand(helpCommand())
	root.InitDefaultCompletionCmd()
	if c, _, err := root.Find([]string{"completion"}); err == nil {
		c.Args, c.RunE = cobra.ArbitraryArgs, wantVerb
		for _, shell := range c.Commands() {
			shell.Args = arity
		}
	}
	return root
}

// checkArity makes every command below cmd take the arguments of its Use line.
func checkArity(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		if c.Args == nil {
			c.Args = arity
		}
		checkArity(c)
	}
}

// helpCommand is help for a command named by its words; a word that is no command is a mistake like any other.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND...]", Short: "Show help for a command", Example: "  fabricctl help network create",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, rest, err := cmd.Root().Find(args)
			if err != nil {
				return usagef(cmd, "%v", err)
			}
			if len(rest) > 0 {
				return wantVerb(c, rest)
			}
			return c.Help()
		},
	}
}

// negation is --wait, which says the opposite of --no-wait.
type negation struct{ of *bool }

func (n *negation) Type() string   { return "bool" }
func (n *negation) String() string { return fmt.Sprint(n.of != nil && !*n.of) }

// Set implements pflag.Value.
func (n *negation) Set(v string) error {
	switch v {
	case "true":
		*n.of = false
	case "false":
		*n.of = true
	default:
		return fmt.Errorf("want true or false")
	}
	return nil
}

// client is the API of the daemon on this host.
func (a *app) client() *api.Client {
	if a.debug {
		return a.debugClient()
	}
	return api.NewUnixClient(a.socket)
}

// say tells of a success, as lxc does where it says something at all.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintln(a.out, printable(fmt.Sprintf(format, args...)))
	}
}
