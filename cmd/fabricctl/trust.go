package main

import (
	"fmt"
	"os"

	"netfabric/fabric"
	"netfabric/fabric/api"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

func (a *app) trustCommand() *cobra.Command {
	add := &cobra.Command{
		Use:   "add NAME [FILE]",
		Short: "Trust a client",
		Long: `Trust a client: the one whose certificate stands in FILE (PEM), or, without a FILE, the first that shows the token which is printed.
The token is good once and is not shown again.`,
		Example: `  fabricctl config trust add laptop
  fabricctl config trust add laptop client.crt`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				token, err := a.client().AddClientToken(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				fmt.Fprintln(a.out, token.String())
				return nil
			}
			pem, err := os.ReadFile(args[1])
			if err != nil {
				return fmt.Errorf("read the certificate: %w", err)
			}
			if fabric.Fingerprint(string(pem)) == "" {
				return fabric.Invalidf("bad-certificate", "%s is not a certificate in PEM", args[1])
			}
			post := api.CertificatesPost{}
			post.Name, post.Type, post.Certificate = args[0], incusapi.CertificateTypeClient, string(pem)
			return a.client().AddCertificate(cmd.Context(), post)
		},
	}
	listAll := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List trusted clients", Example: "  fabricctl config trust list"}
	f := formatFlag(listAll, "table")
	listAll.RunE = func(cmd *cobra.Command, _ []string) error { return a.listTrust(cmd, *f) }
	showOne := &cobra.Command{
		Use: "show FINGERPRINT", Short: "Show a trusted client",
		Example: "  fabricctl config trust show 5c4a6ce0c9a1", ValidArgsFunction: a.complete(certificates),
	}
	showFormat := formatFlag(showOne, "yaml")
	showOne.RunE = func(cmd *cobra.Command, args []string) error {
		c, _, err := a.client().GetCertificate(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return show(a.out, *showFormat, c)
	}
	remove := &cobra.Command{
		Use: "remove FINGERPRINT", Aliases: []string{"rm"}, Short: "Trust a client no longer",
		Example: "  fabricctl config trust remove 5c4a6ce0c9a1", ValidArgsFunction: a.complete(certificates),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.client().DeleteCertificate(cmd.Context(), args[0])
		},
	}
	return group("trust", "Manage the clients that may use the API", add, listAll, showOne, remove)
}

func (a *app) listTrust(cmd *cobra.Command, f format) error {
	all, err := a.client().GetCertificates(cmd.Context())
	if err != nil {
		return err
	}
	return list(a.out, f, all, []column[incusapi.Certificate]{
		{"NAME", func(c incusapi.Certificate) string { return c.Name }},
		{"TYPE", func(c incusapi.Certificate) string { return c.Type }},
		{"DESCRIPTION", func(c incusapi.Certificate) string { return c.Description }},
		{"FINGERPRINT", func(c incusapi.Certificate) string { return short(c.Fingerprint) }},
	})
}
