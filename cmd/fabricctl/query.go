package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) queryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "query PATH",
		Short: "Send a request to the API and print what it answers",
		Long: "Send a request to the API and print the metadata of the answer as JSON, or the answer itself where it has none, as that of /1.0/metrics.\n" +
			"Data of \"-\" are read from stdin.",
		Example: `  fabricctl query /1.0
  fabricctl query "/1.0/instances?recursion=1"
  fabricctl query /1.0/metrics
  fabricctl query -X PATCH -d '{"config": {"user.owner": "alice"}}' /1.0`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	methods := []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	method := cmd.Flags().StringP("request", "X", "", "`METHOD`: "+strings.Join(methods, ", ")+" (default GET, or POST where there are data)")
	data := cmd.Flags().StringP("data", "d", "", "`JSON` to send")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path := args[0]
		if !strings.HasPrefix(path, "/") {
			return usagef(cmd, "path %q does not begin with /, as in /1.0/instances", path)
		}
		verb := strings.ToUpper(*method)
		if verb == "" {
			verb = http.MethodGet
			if *data != "" {
				verb = http.MethodPost
			}
		}
		if !slices.Contains(methods, verb) {
			return usagef(cmd, "--request %q: want one of %s", *method, strings.Join(methods, ", "))
		}
		body, err := a.queryBody(cmd, *data)
		if err != nil {
			return err
		}
		if verb == http.MethodGet {
			if body != nil {
				return usagef(cmd, "GET sends no data")
			}
			answer, enveloped, err := a.client().Query(cmd.Context(), path)
			switch {
			case err != nil:
				return err
			case enveloped:
				return writeJSON(a.out, json.RawMessage(answer))
			}
			_, err = a.out.Write(answer)
			return err
		}
		op, err := a.client().Send(cmd.Context(), verb, path, body, "")
		if done, err := a.settle(cmd.Context(), op, err); err != nil || !done || op == nil {
			return err
		}
		return writeJSON(a.out, op.Operation)
	}
	return cmd
}

// queryBody is the JSON to send, nil for none.
func (a *app) queryBody(cmd *cobra.Command, data string) (any, error) {
	if data == "" {
		return nil, nil
	}
	raw := []byte(data)
	if data == "-" {
		var err error
		if raw, err = io.ReadAll(a.in); err != nil {
			return nil, fmt.Errorf("read the data from stdin: %w", err)
		}
	}
	if !json.Valid(raw) {
		return nil, usagef(cmd, "the data are not JSON")
	}
	return json.RawMessage(raw), nil
}
