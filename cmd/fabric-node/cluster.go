package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"netfabric/cluster"
	"netfabric/fabric/agent"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"gopkg.in/yaml.v3"
)

// clusterCommand has what is done to a member's copy of the database while nobody can write the database.
func clusterCommand(dir *string) *cobra.Command {
	c := &cobra.Command{
		Use:   "cluster",
		Short: "Recover a cluster that has lost more than half of its database members",
		Long: `Recover a cluster that has lost more than half of its database members for good.

1. On each member that is left: fabric-node cluster list-database
   Choose the one whose copy has the highest term; among equal terms, the one with the highest index.
2. There: systemctl stop fabric-node
          fabric-node cluster recover-from-quorum-loss
          systemctl start fabric-node
3. The other members take the recovered database over by themselves as soon as they reach that one.
4. Remove the members that are lost: fabricctl cluster remove NAME --force

Instances, routes and the routing worker go on meanwhile.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(listDatabaseCommand(dir), showCommand(dir), recoverCommand(dir), rejoinCommand(dir))
	return c
}

// databaseDir is where package cluster keeps what it keeps.
func databaseDir(dir string) string { return filepath.Join(dir, "database") }

func listDatabaseCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "list-database",
		Short: "List the members that have the database, and say how far this one's copy goes",
		Long: `List the members that have the database, as this member's copy of it says, and how far that copy goes. It changes nothing and may be
used while the daemon runs.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			found, err := cluster.Inspect(databaseDir(*dir))
			if err != nil {
				return err
			}
			return printCopy(c.OutOrStdout(), found)
		},
	}
}

func printCopy(w io.Writer, found *cluster.Copy) error {
	if found.Index == 0 {
		_, err := fmt.Fprintf(w, "Member %s has no copy of the database\n", found.Name)
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tADDRESS\tROLE")
	for _, n := range found.Nodes {
		name := n.Name
		if name == "" {
			name = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", name, n.Address, n.Role)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nThe copy of member %s ends at term %d, index %d\n", found.Name, found.Term, found.Index)
	return err
}

// shown is a copy of the database for scripts.
type shown struct {
	Name      string      `yaml:"name"`
	Address   string      `yaml:"address"`
	Recovered string      `yaml:"recovered"` // ids of the recoveries
	Term      uint64      `yaml:"term"`
	Index     uint64      `yaml:"index"`
	Database  []shownNode `yaml:"database"`
	Others    []shownPeer `yaml:"other_members"`
}

type shownNode struct {
	ID      uint64 `yaml:"id"`
	Name    string `yaml:"name"`
	Address string `yaml:"address"`
	Role    string `yaml:"role"`
}

type shownPeer struct {
	Name    string `yaml:"name"`
	Address string `yaml:"address"`
}

func showCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show as YAML what this member's directory says of the cluster",
		Long: `Show as YAML what this member's directory says of the cluster: how far its copy of the database goes, from which recoveries that
database came, who shares it, and which other members there are. It changes nothing and may be used while the daemon runs.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			found, err := cluster.Inspect(databaseDir(*dir))
			if err != nil {
				return err
			}
			out := shown{Name: found.Name, Address: found.Address, Recovered: found.Lineage, Term: found.Term, Index: found.Index}
			for _, n := range found.Nodes {
				out.Database = append(out.Database, shownNode{n.ID, n.Name, n.Address, n.Role})
			}
			for _, o := range found.Others {
				out.Others = append(out.Others, shownPeer(o))
			}
			return yaml.NewEncoder(c.OutOrStdout()).Encode(out)
		},
	}
}

func recoverCommand(dir *string) *cobra.Command {
	var yes, loss bool
	c := &cobra.Command{
		Use:   "recover-from-quorum-loss",
		Short: "Make this member's copy of the database the cluster's, when more than half of the voting members are lost for good",
		Long: `Make this member's copy of the database the cluster's, when more than half of the voting members are lost for good. The daemon must not
run. This member decides alone then, until it has given votes to others.

Writes that this copy does not have are lost. The other members that are left take the recovered database over as soon as they reach
this one, and so do members that were taken for lost and come back: what these wrote in between is lost too.

It refuses where a member that answers shows that nothing is lost, and where another copy is known to be newer. The copy as it was is
kept.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := canConfirm(c, yes); err != nil {
				return err
			}
			known := uint64(0)
			if s, err := agent.LoadSnapshot(savedSnapshot(*dir)); err == nil {
				known = s.Revision
			}
			r, err := cluster.PrepareRecovery(c.Context(), cluster.RecoverOptions{Dir: databaseDir(*dir), Known: known, AcceptLoss: loss})
			if err != nil {
				return err
			}
			printRecovery(c.OutOrStdout(), r)
			if !yes && !confirmed(c) {
				return errors.Join(errors.New("nothing was done"), r.Discard())
			}
			kept, err := r.Commit()
			if err != nil {
				return fmt.Errorf("use the recovered database: %w", err)
			}
			fmt.Fprintf(c.OutOrStdout(), "Done: member %s has the recovered database. The copy as it was is in %s\nStart it now: systemctl start fabric-node\n", r.Name, kept)
			return nil
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do it without asking")
	c.Flags().BoolVar(&loss, "accept-loss", false, "go on where another copy is known to be newer")
	return c
}

func printRecovery(w io.Writer, r *cluster.Recovery) {
	fmt.Fprintf(w, "Member %s becomes the only one to decide, with its copy of the database, revision %d.\n", r.Name, r.Revision)
	if len(r.Others) > 0 {
		fmt.Fprintf(w, "The other members, %s, take it over when they reach %s, or are to be removed.\n", strings.Join(r.Others, ", "), r.Name)
	}
	if len(r.Silent) > 0 {
		fmt.Fprintf(w, "Not answering now: %s. If one of them has a newer copy, what only that one has is lost.\n", strings.Join(r.Silent, ", "))
	}
}

func rejoinCommand(dir *string) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "rejoin MEMBER",
		Short: "Give this member's database up for that of another one, after quorum loss was recovered on both sides",
		Long: `Give this member's database up for that of another one. That is needed only where quorum loss was recovered on two members apart from
each other: there are two databases then, and members of one don't talk to those of the other. The daemon must not run; MEMBER has to answer.
What was written to the database that is given up is lost to the cluster. This member's copy of it is kept.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := canConfirm(c, yes); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "This member gives its database up, with what was written to it since the recovery, and takes that of %s.\n", args[0])
			if !yes && !confirmed(c) {
				return errors.New("nothing was done")
			}
			kept, err := cluster.Rejoin(c.Context(), databaseDir(*dir), args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "Done. The copy as it was is in %s\nStart the member now: systemctl start fabric-node\n", kept)
			return nil
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do it without asking")
	return c
}

// canConfirm refuses where somebody has to be asked and nobody can be.
func canConfirm(c *cobra.Command, yes bool) error {
	if in, ok := c.InOrStdin().(*os.File); yes || ok && isTerminal(in) {
		return nil
	}
	return errors.New("nothing was done: there is no terminal to ask on; --yes does it without asking")
}

// confirmed asks whether to go on.
func confirmed(c *cobra.Command) bool {
	fmt.Fprint(c.OutOrStdout(), `Type "yes" to go on: `)
	answer, err := readLine(c.Context(), c.InOrStdin())
	return err == nil && strings.TrimSpace(answer) == "yes"
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// readLine reads a line, unless ctx ends first.
func readLine(ctx context.Context, r io.Reader) (string, error) {
	type read struct {
		line string
		err  error
	}
	done := make(chan read, 1)
	go func() {
		line, err := bufio.NewReader(r).ReadString('\n')
		done <- read{line, err}
	}()
	select {
	case r := <-done:
		return r.line, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
