package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"netfabric/lab"
)

func upCommand() *cobra.Command {
	var name, bin string
	var reconfigure, quiet bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "up FILE",
		Short: "Start a topology",
		Long:  "Start a topology. What a crashed run left is removed first; a running lab is refused.",
		Args:  oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts := []lab.Option{lab.WithName(name), lab.WithBinDir(bin)}
			if reconfigure {
				opts = append(opts, lab.WithReconfigure())
			}
			if !quiet {
				opts = append(opts, lab.WithProgress(cmd.ErrOrStderr()))
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, fmt.Errorf("not up within %s", timeout))
			defer cancel()
			_, err := lab.Up(ctx, args[0], opts...)
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "run under this name instead of the file's")
	cmd.Flags().StringVar(&bin, "bin", "", "directory that nodes search first for programs (default $LAB_BIN, else bin/ of the module around FILE)")
	cmd.Flags().BoolVarP(&reconfigure, "reconfigure", "c", false, "take a running lab of that name down first")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print errors only")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "give up, and remove everything, after this long")
	return cmd
}

func downCommand() *cobra.Command {
	var name string
	var all bool
	cmd := &cobra.Command{
		Use:   "down FILE | down --name NAME | down --all",
		Short: "End a lab and remove everything it made",
		Long:  "End a lab and remove everything it made: processes, containers, namespaces, files. Repeating it is no error.",
		Args: func(cmd *cobra.Command, args []string) error {
			if all || name != "" {
				return cobra.NoArgs(cmd, args)
			}
			return oneFile(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			names := []string{name}
			var err error
			if all {
				names, err = lab.List()
			} else if name == "" {
				names[0], err = nameOf(args[0])
			}
			if err != nil {
				return err
			}
			var errs []error
			for _, name := range names {
				errs = append(errs, lab.Down(cmd.Context(), name))
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the name the lab was started under")
	cmd.Flags().BoolVar(&all, "all", false, "every lab of this machine")
	return cmd
}

func execCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:     "exec FILE NODE -- COMMAND [ARG]...",
		Short:   "Run a command in a node",
		Long:    "Run a command in a node, with this terminal; the exit code is the command's.",
		Example: "  lab exec lab/topologies/anycast.clab.yml client -- ping -c 1 198.51.100.1",
		RunE: func(cmd *cobra.Command, args []string) error {
			// Flags end at FILE, so that the command keeps its own; pflag then leaves the "--" where it is.
			if len(args) > 2 && args[2] == "--" {
				args = slices.Delete(args, 2, 3)
			}
			if len(args) < 3 {
				return fmt.Errorf("exec needs FILE, NODE and a command: %s", cmd.UseLine())
			}
			l, err := open(args[0], name)
			if err != nil {
				return err
			}
			node, err := l.Node(args[1])
			if err != nil {
				return err
			}
			// A terminal sends its interrupts to the command as well; it decides what they mean.
			signal.Reset(os.Interrupt)
			signal.Ignore(os.Interrupt)
			inside := node.Command(cmd.Context(), args[2:]...)
			inside.Cancel = func() error { return inside.Process.Signal(syscall.SIGTERM) } // ours was SIGTERM too
			inside.WaitDelay = 10 * time.Second
			inside.Stdin, inside.Stdout, inside.Stderr = os.Stdin, os.Stdout, os.Stderr
			return inside.Run()
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the name the lab was started under")
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s needs one topology file: %s", cmd.Name(), cmd.UseLine())
	}
	return nil
}

// nameOf is the lab's name in the file.
func nameOf(path string) (string, error) {
	topology, err := lab.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w (a lab whose file is gone is reached with --name)", err)
	}
	if err != nil {
		return "", err
	}
	return topology.Name, nil
}

func open(path, name string) (*lab.Lab, error) {
	if name == "" {
		var err error
		if name, err = nameOf(path); err != nil {
			return nil, err
		}
	}
	return lab.Open(name)
}
