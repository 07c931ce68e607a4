package api

import (
	"context"
	"net/url"

	"netfabric/fabric"
	"netfabric/fabric/explain"
)

// ExplainRoute tells what the cluster announces for an address or prefix, and what is in the way.
func (c *Client) ExplainRoute(ctx context.Context, prefix string) (*explain.Answer, error) {
	a, _, err := one[explain.Answer](ctx, c, "/1.0/routes/explain?prefix="+url.QueryEscape(prefix))
	return a, err
}

func (s *Server) explainRoute(r *request) (reply, error) {
	p, err := fabric.ParsePrefix(r.query("prefix"))
	if err != nil {
		return reply{}, fabric.Invalidf("bad-prefix", "explain a route: %w", err).WithFix("give prefix=ADDRESS or prefix=ADDRESS/LENGTH")
	}
	return reply{metadata: explain.Explain(p, explain.Input{
		Desired: r.snap, Reports: r.reports(), Offline: func(member string) bool { return offline(r.status, member) },
	})}, nil
}

// GetReasons lists the slugs of "why not" with what they mean and what to do.
func (c *Client) GetReasons(ctx context.Context) ([]fabric.ReasonText, error) {
	var all []fabric.ReasonText
	_, err := c.Get(ctx, "/1.0/routes/reasons", &all)
	return all, err
}

func (s *Server) getReasons(*request) (reply, error) {
	return reply{metadata: fabric.ReasonTexts()}, nil
}
