package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	"netfabric/fabric"
	"netfabric/fabric/api"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

func (a *app) clusterCommand() *cobra.Command {
	keyed := keyedObject[incusapi.ClusterMemberPut]{
		command: "cluster", noun: "member", sample: "n1", setting: "scheduler.instance=manual", key: "scheduler.instance", names: members, keys: fabric.MemberKeys,
		shown:  api.ClusterMember{},
		config: func(put *incusapi.ClusterMemberPut) *incusapi.ConfigMap { return &put.Config },
		read: func(ctx context.Context, c *api.Client, name string) (incusapi.ClusterMemberPut, string, error) {
			m, etag, err := c.GetMember(ctx, name)
			if err != nil {
				return incusapi.ClusterMemberPut{}, "", err
			}
			return m.Writable(), etag, nil
		},
		write: func(ctx context.Context, c *api.Client, name string, put incusapi.ClusterMemberPut, etag string) error {
			return c.UpdateMember(ctx, name, put, etag)
		},
	}
	commands := append([]*cobra.Command{a.bootstrapCommand(), a.memberAdd(), a.joinCommand(), a.memberList(), a.memberShow(), a.memberRemove(), a.clusterGroupCommand(), a.tokenList(), a.tokenRevoke(), a.updateCertificate()}, keyed.commands(a)...)
	return group("cluster", "Manage the members of the cluster", commands...)
}

// defaultPort is the port of members whose address has none.
const defaultPort = 8443

// addressFlag gives a command --address, and a function that reads it.
func addressFlag(cmd *cobra.Command) func() (string, error) {
	value := cmd.Flags().String("address", "", fmt.Sprintf("`ADDRESS[:PORT]` at which the other members reach this one (port %d if not given)", defaultPort))
	return func() (string, error) {
		if *value == "" {
			return "", usagef(cmd, "--address is missing: at which ADDRESS[:PORT] do the other members reach this one?")
		}
		if ip, err := netip.ParseAddr(strings.Trim(*value, "[]")); err == nil {
			return netip.AddrPortFrom(ip, defaultPort).String(), nil
		}
		ap, err := netip.ParseAddrPort(*value)
		if err != nil || ap.Port() == 0 {
			return "", usagef(cmd, "--address %q is not ADDRESS[:PORT], such as 192.0.2.1 or %s", *value, net.JoinHostPort("2001:db8::1", "8443"))
		}
		return ap.String(), nil
	}
}

func (a *app) bootstrapCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "bootstrap NAME",
		Short:   "Form a new cluster of which this host is the first member",
		Example: "  fabricctl cluster bootstrap n1 --address 192.0.2.1:8443",
	}
	address := addressFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at, err := address()
		if err != nil {
			return err
		}
		op, err := a.client().Bootstrap(cmd.Context(), args[0], at)
		done, err := a.settle(cmd.Context(), op, err)
		if err != nil || !done {
			return err
		}
		a.say("Cluster formed, its first member is %s", args[0])
		return nil
	}
	return cmd
}

func (a *app) memberAdd() *cobra.Command {
	return &cobra.Command{
		Use:   "add NAME",
		Short: "Print a token with which a host can join as a member",
		Long:  "Print a token with which a host can join the cluster as member NAME. It is good once, for a while, and is not shown again.",
		Example: `  fabricctl cluster add n2
  fabricctl cluster add n2 | ssh n2 fabricctl cluster join - --address 192.0.2.2`,
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := a.client().AddMember(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, token.String())
			return nil
		},
	}
}

func (a *app) joinCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "join TOKEN",
		Short: "Make this host a member of the cluster that gave out the token",
		Long:  "Make this host a member of the cluster that gave out the token. A TOKEN of \"-\" is read from stdin, where other users do not see it.",
		Example: `  fabricctl cluster join "$TOKEN" --address 192.0.2.2
  fabricctl cluster join - --address 192.0.2.2:8443 < token`,
	}
	address := addressFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at, err := address()
		if err != nil {
			return err
		}
		token := args[0]
		if token == "-" {
			data, err := io.ReadAll(io.LimitReader(a.in, 1<<16))
			if err != nil {
				return fmt.Errorf("read the token from stdin: %w", err)
			}
			token = string(data)
		}
		op, err := a.client().Join(cmd.Context(), strings.TrimSpace(token), at)
		done, err := a.settle(cmd.Context(), op, err)
		if err != nil || !done {
			return err
		}
		a.say("This host is a member of the cluster now")
		return nil
	}
	return cmd
}

func (a *app) memberList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the members", Example: "  fabricctl cluster list\n  fabricctl cluster list -f json"}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := a.client().GetMembers(cmd.Context())
		if err != nil {
			return err
		}
		return list(a.out, *f, all, []column[api.ClusterMember]{
			{"NAME", func(m api.ClusterMember) string { return m.ServerName }},
			{"URL", func(m api.ClusterMember) string { return m.URL }},
			{"ROLES", func(m api.ClusterMember) string { return strings.Join(m.Roles, "\n") }},
			{"FAILURE DOMAIN", func(m api.ClusterMember) string { return m.FailureDomain }},
			{"STATE", func(m api.ClusterMember) string { return upper(m.Status) }},
			{"MESSAGE", func(m api.ClusterMember) string { return m.Message }},
		})
	}
	return cmd
}

func (a *app) memberShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NAME", Aliases: []string{"info"}, Short: "Show a member",
		Example: "  fabricctl cluster show n1", ValidArgsFunction: a.complete(members),
	}
	f := formatFlag(cmd, "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m, _, err := a.client().GetMember(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return show(a.out, *f, m)
	}
	return cmd
}

func (a *app) memberRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove NAME", Aliases: []string{"rm"}, Short: "Remove a member from the cluster",
		Long:    "Remove a member from the cluster. It is shut out at once.",
		Example: "  fabricctl cluster remove n3\n  fabricctl cluster remove n3 --force", ValidArgsFunction: a.complete(members),
	}
	force := cmd.Flags().BoolP("force", "f", false, "even if it can't be reached or has instances, which are then lost")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.client().RemoveMember(cmd.Context(), args[0], *force); err != nil {
			return err
		}
		a.say("Member %s removed", args[0])
		return nil
	}
	return cmd
}

func (a *app) updateCertificate() *cobra.Command {
	return &cobra.Command{
		Use: "update-certificate [CERTIFICATE-FILE] [KEY-FILE]", Aliases: []string{"update-cert"}, Short: "Replace the certificate that all members show to clients",
		Long: `Replace the certificate that all members show to clients, on all members and without a restart. Without files a new one is made.

Clients that know the cluster by its certificate have to be told of the new one. Tokens that were not used yet are revoked: they name the
old one. Members know each other by certificates of their own, which stay.`,
		Example: "  fabricctl cluster update-certificate\n  fabricctl cluster update-certificate cluster.crt cluster.key",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return usagef(cmd, "KEY-FILE is missing")
			}
			var pair [2]string
			for i, file := range args {
				data, err := os.ReadFile(file)
				if err != nil {
					return fmt.Errorf("read the %s: %w", []string{"certificate", "key"}[i], err)
				}
				pair[i] = string(data)
			}
			if err := a.client().UpdateClusterCertificate(cmd.Context(), pair[0], pair[1]); err != nil {
				return err
			}
			a.say("The members show a new certificate to clients; open tokens were revoked")
			return nil
		},
	}
}

// joinToken is a token that a member can still join with. The secret in it was shown when it was made, and nobody keeps it.
type joinToken struct {
	Name      string `json:"name"`
	ExpiresAt string `json:"expires_at"`
	ID        string `json:"id"` // of its operation
}

// joinTokens lists the tokens with which members can still join.
func joinTokens(ctx context.Context, c *api.Client) ([]joinToken, error) {
	all, err := c.GetOperations(ctx)
	var tokens []joinToken
	for _, op := range all {
		name, ok := op.Metadata["serverName"].(string)
		if op.Class == incusapi.OperationClassToken && ok {
			expires, _ := op.Metadata["expiresAt"].(string)
			tokens = append(tokens, joinToken{name, expires, op.ID})
		}
	}
	return tokens, err
}

func (a *app) tokenList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list-tokens", Short: "List the tokens with which hosts can still join",
		Long: "List the tokens with which hosts can still join. A token itself is shown only once, by \"fabricctl cluster add\".", Example: "  fabricctl cluster list-tokens",
	}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		tokens, err := joinTokens(cmd.Context(), a.client())
		if err != nil {
			return err
		}
		return list(a.out, *f, tokens, []column[joinToken]{
			{"NAME", func(t joinToken) string { return t.Name }},
			{"EXPIRES AT", func(t joinToken) string { return dateOf(t.ExpiresAt) }},
		})
	}
	return cmd
}

func (a *app) tokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke-token NAME", Short: "Make a member's token worthless",
		Example: "  fabricctl cluster revoke-token n2",
		ValidArgsFunction: a.complete(func(ctx context.Context, c *api.Client) ([]string, error) {
			tokens, err := joinTokens(ctx, c)
			var names []string
			for _, t := range tokens {
				names = append(names, t.Name)
			}
			return names, err
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			tokens, err := joinTokens(cmd.Context(), a.client())
			if err != nil {
				return err
			}
			for _, t := range tokens {
				if t.Name != args[0] {
					continue
				}
				if err := a.client().DeleteOperation(cmd.Context(), t.ID); err != nil {
					return err
				}
				a.say("Token of member %s revoked", args[0])
				return nil
			}
			return fabric.NotFoundf("there is no token for member %q", args[0]).WithFix("see \"fabricctl cluster list-tokens\"")
		},
	}
}
