package api

import (
	"cmp"
	"context"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"netfabric/fabric"
)

// AnycastPut is what can be changed of an anycast service.
type AnycastPut struct {
	Description string         `json:"description"`
	Addresses   []netip.Prefix `json:"addresses"` // host prefixes
	Check       AnycastCheck   `json:"check"`
	// Weight is what routers are told of the weights of the copies on a member (anycast.weight): "none", "med", "local-pref" or "link-bandwidth".
	Weight     fabric.Weighting `json:"weight"`
	MinHealthy int              `json:"min_healthy"` // failed checks withdraw no copy when fewer than so many would be left; 0: they always do
}

// AnycastCheck is how a copy of a service is seen to be healthy. Zeros are defaults. The fields are those of fabric.Check, which says what they mean.
type AnycastCheck struct {
	Type     fabric.CheckType `json:"type"` // "process", "tcp", "http", "https", "dns", "exec"
	Port     uint16           `json:"port"`
	Interval int              `json:"interval"`          // milliseconds
	Timeout  int              `json:"timeout"`           // milliseconds
	Rise     int              `json:"rise"`              // successes in a row
	Fall     int              `json:"fall"`              // failures in a row
	Path     string           `json:"path"`              // http, https
	Host     string           `json:"host,omitempty"`    // http, https: Host header and name in TLS
	Status   string           `json:"status,omitempty"`  // http, https: good codes, such as 200-204,401
	Body     string           `json:"body,omitempty"`    // http, https: text that the answer must have in it
	Verify   bool             `json:"verify,omitempty"`  // https: the certificate must be valid for host
	Name     string           `json:"name,omitempty"`    // dns: to ask for
	Record   string           `json:"record,omitempty"`  // dns: type of record
	Rcode    string           `json:"rcode,omitempty"`   // dns: expected response code
	Answer   string           `json:"answer,omitempty"`  // dns: data that one record must have
	Command  string           `json:"command,omitempty"` // exec: command line, with quotes as in a shell
}

// AnycastsPost makes an anycast service.
type AnycastsPost struct {
	AnycastPut
	Name string `json:"name"`
}

// Anycast is an anycast service and the instances that answer for it.
type Anycast struct {
	AnycastPut
	Name   string        `json:"name"`
	Copies []AnycastCopy `json:"copies"`
}

// AnycastCopy is an instance that is a copy of a service.
type AnycastCopy struct {
	Instance string `json:"instance"`
	Member   string `json:"member"`
	Healthy  bool   `json:"healthy"`
	Reason   string `json:"reason,omitempty"` // slug, when it is not healthy
	Message  string `json:"message,omitempty"`
	Stale    bool   `json:"stale,omitempty"` // the member is offline: this is its last word
	// Addresses tells for each address of the service what the copy's member bases its verdict on; empty while the copy does not run.
	Addresses []AnycastAddress `json:"addresses,omitempty"`
}

// AnycastAddress is a copy as it answers for one address of its service.
type AnycastAddress struct {
	Address     netip.Prefix `json:"address"`
	Device      string       `json:"device"`
	Used        bool         `json:"used"`               // traffic is led to it
	Process     string       `json:"process"`            // "alive", or why not
	Link        string       `json:"link"`               // "up", or why not; "unknown" of a dead process
	Check       string       `json:"check"`              // what came of the last checks; "none" where the service has none
	Flaps       int          `json:"flaps"`              // times it became unhealthy, as far as they still count
	DampedUntil *time.Time   `json:"damped_until"`       // when it is used again if it flaps no more; null: it is not damped
	Drain       string       `json:"drain,omitempty"`    // slug, when it is not to be used although it lives
	Kept        bool         `json:"kept,omitempty"`     // used although it is not healthy: too few others are
	Weight      int          `json:"weight"`             // of its traffic, compared with other copies
	Since       time.Time    `json:"since"`              // when it became healthy, or the reason why not last changed
	Announced   []string     `json:"announced"`          // peers that have been told of the address by the member
	NotTold     string       `json:"not_told,omitempty"` // why no peer has
}

// GetAnycasts lists the anycast services.
func (c *Client) GetAnycasts(ctx context.Context) ([]Anycast, error) {
	return list[Anycast](ctx, c, "/1.0/anycast")
}

// GetAnycast finds an anycast service.
func (c *Client) GetAnycast(ctx context.Context, name string) (*Anycast, string, error) {
	return one[Anycast](ctx, c, "/1.0/anycast/"+seg(name))
}

// CreateAnycast makes an anycast service.
func (c *Client) CreateAnycast(ctx context.Context, post AnycastsPost) error {
	_, err := c.Send(ctx, http.MethodPost, "/1.0/anycast", post, "")
	return err
}

// UpdateAnycast replaces an anycast service.
func (c *Client) UpdateAnycast(ctx context.Context, name string, put AnycastPut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0/anycast/"+seg(name), put, etag)
	return err
}

// DeleteAnycast removes an anycast service that no instance is a copy of.
func (c *Client) DeleteAnycast(ctx context.Context, name string) error {
	_, err := c.Send(ctx, http.MethodDelete, "/1.0/anycast/"+seg(name), nil, "")
	return err
}

func (s *Server) getAnycasts(r *request) (reply, error) {
	return r.list(items("/1.0/anycast/", r.snap.Anycasts(), objectName, func(a *fabric.Anycast) any { return s.showAnycast(r, a) }))
}

func (s *Server) getAnycast(r *request) (reply, error) {
	a, ok := r.snap.Anycast(r.PathValue("name"))
	if !ok {
		return reply{}, notFound(fabric.Key{Kind: fabric.KindAnycast, Name: r.PathValue("name")})
	}
	return reply{metadata: s.showAnycast(r, a), etag: etagOf(a)}, nil
}

func (s *Server) showAnycast(r *request, a *fabric.Anycast) Anycast {
	return Anycast{AnycastPut: anycastPut(a), Name: a.Name, Copies: s.copies(r, a)}
}

// copies are the instances that are copies of a service, with what their members say of their health.
func (s *Server) copies(r *request, a *fabric.Anycast) []AnycastCopy {
	health := map[[2]string]fabric.CopyState{}
	addresses := map[[2]string][]AnycastAddress{}
	for _, c := range r.reports().Of(fabric.KeyOf(a)) {
		if c.Type != fabric.ConditionRoutes {
			continue
		}
		for _, route := range fabric.JSON[[]fabric.RouteState](c.Data) {
			for _, state := range route.Copies {
				at := [2]string{c.Member, state.Instance}
				addresses[at] = append(addresses[at], anycastAddress(route, state))
				if old, ok := health[at]; !ok || old.Healthy { // unhealthy in one family is unhealthy
					health[at] = state
				}
			}
		}
	}
	all := []AnycastCopy{}
	for _, i := range r.snap.Instances() {
		config, _ := i.Expanded(r.snap)
		if !slices.Contains(config.AnycastServices(), a.Name) {
			continue
		}
		shown := AnycastCopy{Instance: i.Name, Member: i.Member, Stale: offline(r.status, i.Member), Addresses: addresses[[2]string{i.Member, i.Name}]}
		state, ok := health[[2]string{i.Member, i.Name}]
		switch {
		case ok:
			shown.Healthy, shown.Reason, shown.Message = state.Healthy, state.Reason, state.Message
		case instanceStatus(r, i) != fabric.InstanceRunning:
			shown.Reason = fabric.ReasonInstanceStopped
		default:
			shown.Reason, shown.Message = "no-report", "the member has not said anything of this copy"
		}
		all = append(all, shown)
	}
	return all
}

// anycastAddress tells what the state of a copy is made of.
func anycastAddress(route fabric.RouteState, state fabric.CopyState) AnycastAddress {
	shown := AnycastAddress{
		Address: route.Prefix, Device: state.Device, Used: state.Healthy || state.Kept, Process: "alive", Link: "up", Check: cmp.Or(state.Check, "none"),
		Flaps: state.Flaps, Kept: state.Kept, Weight: max(1, state.Weight), Since: state.Since, Announced: []string{},
	}
	switch state.Reason {
	case fabric.ReasonProcessDead:
		shown.Process, shown.Link = state.Message, "unknown"
	case fabric.ReasonLinkDown:
		shown.Link = state.Message
	case fabric.ReasonMaintenance, fabric.ReasonDraining:
		shown.Drain = state.Reason
	case fabric.ReasonDamped:
		shown.DampedUntil = &state.Until
	}
	for _, p := range route.Peers {
		if p.Announced {
			shown.Announced = append(shown.Announced, p.Peer)
		}
	}
	if len(shown.Announced) == 0 {
		shown.NotTold = cmp.Or(route.Message, route.Reason)
	}
	return shown
}

func anycastPut(a *fabric.Anycast) AnycastPut {
	return AnycastPut{MinHealthy: a.MinHealthy, Weight: cmp.Or(a.Weight, fabric.WeightNone), Description: a.Description, Addresses: append([]netip.Prefix{}, a.Addresses...), Check: AnycastCheck(a.Check.Default())}
}

func (put AnycastPut) apply(a *fabric.Anycast) {
	a.Weight = put.Weight
	a.Description, a.Addresses, a.Check, a.MinHealthy = put.Description, put.Addresses, fabric.Check(put.Check).Default(), put.MinHealthy
}

func (s *Server) postAnycasts(r *request) (reply, error) {
	var post AnycastsPost
	if err := r.decode(&post); err != nil {
		return reply{}, err
	}
	a := &fabric.Anycast{Header: fabric.Header{Name: post.Name}}
	post.apply(a)
	_, err := create(s, r, a, nil)
	return createdAt("/1.0/anycast/"+seg(a.Name), err)
}

func (s *Server) putAnycast(r *request) (reply, error) {
	c, err := r.change(AnycastPut{})
	if err != nil {
		return reply{}, err
	}
	key := fabric.Key{Kind: fabric.KindAnycast, Name: r.PathValue("name")}
	_, err = edit(s, r, key, func(_ *fabric.Tx, a *fabric.Anycast) error {
		put := anycastPut(a)
		if err := c.onto(&put); err != nil {
			return err
		}
		put.apply(a)
		return nil
	})
	return done(err)
}

func (s *Server) deleteAnycast(r *request) (reply, error) {
	return done(remove(s, r, fabric.Key{Kind: fabric.KindAnycast, Name: r.PathValue("name")}))
}
