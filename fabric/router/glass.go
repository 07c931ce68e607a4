package router

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"

	"netfabric/fabric"
)

// Routes lists paths of a table of the worker's BGP speaker. q has its defaults and is valid. One reader at a time: a large table takes the
// speaker's attention.
func (w *Worker) Routes(ctx context.Context, q fabric.BGPQuery) (routes fabric.BGPRoutes, err error) {
	owners := map[netip.Prefix]fabric.Announcement{}
	err = w.do(ctx, func() {
		routes.Member = w.routing.Member
		for _, a := range w.routing.Announcements {
			owners[a.Prefix] = a
		}
	})
	if err != nil {
		return routes, fabric.Errorf(fabric.CodeUnavailable, "ending", "%w", err)
	}
	member := routes.Member
	asked := q
	if q.Table == fabric.BGPInstalled {
		asked.Table, asked.Limit = fabric.BGPLocal, fabric.MaxBGPLimit
	}
	w.looking.Lock()
	routes, err = w.speaker.Routes(ctx, asked)
	w.looking.Unlock()
	routes.Member = member
	if q.Table == fabric.BGPInstalled && err == nil {
		return w.installed(ctx, routes, q.Limit)
	}
	for at := range routes.Routes {
		r := &routes.Routes[at]
		a, ours := owners[r.Prefix]
		if ours && (r.Peer == "" || q.Table == fabric.BGPOut) {
			r.Kind, r.Owner = a.Kind, a.Owner.String()
		}
		for _, w := range a.Withheld {
			if r.Reason == fabric.ReasonExportRejected && w.Peer == q.Peer {
				r.Reason = w.Reason
			}
		}
	}
	return routes, err
}

// installed says of the paths that came of peers where in the kernel they are.
func (w *Worker) installed(ctx context.Context, routes fabric.BGPRoutes, limit int) (fabric.BGPRoutes, error) {
	all := slices.DeleteFunc(routes.Routes, func(r fabric.BGPRoute) bool { return r.Peer == "" })
	routes.More += max(0, len(all)-limit)
	routes.Routes = all[:min(len(all), limit)]
	if err := w.installer.explain(ctx, routes.Routes); err != nil {
		return routes, fabric.Errorf(fabric.CodeUnavailable, "ending", "%w", err)
	}
	return routes, nil
}

func (w *Worker) getRoutes(rw http.ResponseWriter, r *http.Request) {
	q, err := fabric.ParseBGPQuery(r.URL.Query())
	if err != nil {
		fail(rw, err)
		return
	}
	routes, err := w.Routes(r.Context(), q)
	if err != nil {
		fail(rw, err)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(routes) // a reader that is gone needs no answer
}

// Routes lists paths of a table of the worker's BGP speaker.
func (c *Client) Routes(ctx context.Context, q fabric.BGPQuery) (routes fabric.BGPRoutes, err error) {
	return routes, c.call(ctx, http.MethodGet, "/routes?"+q.Values().Encode(), nil, &routes)
}

// Routes asks the worker of this member.
func (m *Module) Routes(ctx context.Context, q fabric.BGPQuery) (fabric.BGPRoutes, error) {
	return m.client.Routes(ctx, q)
}
