package api

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"netfabric/fabric"
)

// Cluster is what the server asks of the package that forms clusters. All methods are safe for concurrent use.
type Cluster interface {
	Status() fabric.ClusterStatus
	// Bootstrap makes this daemon the first member of a new cluster. address may be empty: it is then chosen.
	Bootstrap(ctx context.Context, name, address string) error
	// AddToken makes a join token for a member of that name: base64 of a JSON object with server_name, fingerprint, addresses, secret, expires_at.
	AddToken(ctx context.Context, name string) (string, error)
	// AddClientToken makes a token for a client: base64 of a JSON object with client_name, fingerprint, addresses, secret, expires_at.
	AddClientToken(ctx context.Context, label string) (string, error)
	Join(ctx context.Context, token, address string) error
	Remove(ctx context.Context, name string, force bool) error
	// UpdateCertificate replaces the certificate that all members show; with neither certificate nor key a new one is made.
	UpdateCertificate(ctx context.Context, certificate, key string) error
	// CertificatePEM is the certificate that this member's HTTPS shows.
	CertificatePEM() string
	// MemberOf names the member that is at the other end of a connection.
	MemberOf(*tls.ConnectionState) (string, bool)
}

// Instances is what the server asks of the instances on this member.
type Instances interface {
	Exec(ctx context.Context, instance string, r fabric.ExecRequest) (int, error)
	Log(instance string) (io.ReadCloser, error)
}

// Images is what the server asks of the image files on this member.
type Images interface {
	// Import stores the files, reading each to its end before the next, and says what they are. It writes nothing to the database.
	Import(ctx context.Context, files []fabric.ImageFile) (*fabric.Image, error)
	// Open gives the files of an image; CodeNotFound where they are not on this member.
	Open(fingerprint string) ([]fabric.ImageFile, error)
}

// Options are what a Server is made of. All fields must be set, save those that say otherwise.
type Options struct {
	Store     fabric.Store
	Reports   func() *fabric.Reports // the store's, with this member's own newest word over them; nil: the store's
	Changed   func() <-chan struct{} // gives a channel that is closed when Reports has news that the store does not have yet; may be nil
	Cluster   Cluster
	Place     func(s *fabric.Snapshot, i *fabric.Instance, target string) (string, error)
	Instances Instances
	Images    Images
	Remote    func(member string) (*Client, error)                                   // a client that another member trusts
	Routing   func() *fabric.RoutingState                                            // what this member's routing worker says; nil where it is not known
	Glass     func(ctx context.Context, q fabric.BGPQuery) (fabric.BGPRoutes, error) // asks this member's routing worker; nil: there is none
	Metrics   *Metrics                                                               // nil: the server makes its own
	Handover  func(ctx context.Context, gateway, member string) error                // moves a gateway that is Active here; reason "not-active" where it is not
	Events    *Hub                                                                   // nil: the server makes its own
	Version   string
	Log       *slog.Logger
}

// Server answers the REST API.
type Server struct {
	Options
	handler    http.Handler
	scrape     http.Handler
	spec       []byte // openapi.json
	operations *operations
	cache      instanceCache
	ctx        context.Context // of everything that outlives a request
	stop       context.CancelFunc
	watching   chan struct{} // closed when watch has ended
}

// NewServer makes a server and starts to watch the store for events. Close ends it.
func NewServer(o Options) *Server {
	if o.Reports == nil {
		o.Reports = o.Store.Reports
	}
	if o.Events == nil {
		o.Events = NewHub()
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Changed == nil {
		o.Changed = func() <-chan struct{} { return nil }
	}
	s := &Server{Options: o, watching: make(chan struct{})}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.operations = newOperations(s.ctx, o.Events)
	s.spec = openAPI(routes, o.Version)
	s.handler = s.mux(routes)
	s.scrape = s.scraper()
	go func() {
		defer close(s.watching)
		s.watch(s.ctx)
	}()
	return s
}

// Close ends all operations and event streams.
func (s *Server) Close() {
	s.stop()
	s.operations.wait()
	s.Events.close()
	<-s.watching
}

// Handler is the API. Requests are trusted when they come over TLS from a client or member that is known, or when HTTPServer accepted them
// on a unix socket.
func (s *Server) Handler() http.Handler { return s.handler }

// unixKey marks the context of connections on a unix socket.
type unixKey struct{}

// HTTPServer is a server for the API with its limits set, for unix sockets and TLS listeners alike. Who may open a unix socket is trusted:
// its file mode is the gate.
func (s *Server) HTTPServer() *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true) // websockets of stock clients need it, and nothing needs HTTP/2
	return &http.Server{
		Protocols:         &protocols,
		Handler:           s.handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if _, ok := c.(*net.UnixConn); ok {
				return context.WithValue(ctx, unixKey{}, true)
			}
			return ctx
		},
	}
}

// access says who may call a route, and when.
type access int

const (
	trusted access = iota // trusted callers, when there is a cluster
	early                 // trusted callers, at any time
	anyone                // everybody, at any time
)

// route is one line of the API.
type route struct {
	method  string
	path    string
	access  access
	handle  func(*Server, *request) (reply, error)
	in, out any // zero values of the types of request body and metadata; nil: none
	summary string
}

// request is what handlers are given.
type request struct {
	*http.Request
	w       http.ResponseWriter
	snap    *fabric.Snapshot
	status  fabric.ClusterStatus
	trusted bool
	reports func() *fabric.Reports // asked for once
}

// newRequest is a request as of now. The snapshot comes after the status: a status that knows of the cluster has a snapshot that does.
func (s *Server) newRequest(w http.ResponseWriter, r *http.Request) *request {
	return &request{Request: r, w: w, status: s.Cluster.Status(), snap: s.Store.Snapshot(), reports: sync.OnceValue(s.Reports)}
}

// mux makes the handler of a route table. One pattern is registered per path, so that wrong methods are answered in the envelope.
func (s *Server) mux(table []route) http.Handler {
	byPath := map[string]map[string]route{}
	for _, rt := range table {
		for _, p := range withAliases(rt.path) {
			if byPath[p] == nil {
				byPath[p] = map[string]route{}
			}
			byPath[p][rt.method] = rt
		}
	}
	mux := http.NewServeMux()
	for p, methods := range byPath {
		if p == "/" {
			p = "/{$}" // a slash alone would match everything
		}
		mux.HandleFunc(p, func(w http.ResponseWriter, r *http.Request) { s.dispatch(w, r, methods) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, fabric.NotFoundf("there is no %s in this API", r.URL.Path).WithFix("see /1.0/openapi.json"))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		escaped := r.URL.EscapedPath()
		if path.Clean(escaped) != escaped && path.Clean(escaped)+"/" != escaped { // the mux would redirect
			writeError(w, fabric.NotFoundf("there is no %s in this API", r.URL.Path))
			return
		}
		r.URL.Path = cmp.Or(strings.TrimSuffix(r.URL.Path, "/"), "/")
		r.URL.RawPath = strings.TrimSuffix(r.URL.RawPath, "/")
		mux.ServeHTTP(w, r)
	})
}

// withAliases adds the names that instances had in older clients.
func withAliases(p string) []string {
	if rest, ok := strings.CutPrefix(p, "/1.0/instances"); ok {
		return []string{p, "/1.0/containers" + rest}
	}
	return []string{p}
}

func (s *Server) dispatch(raw http.ResponseWriter, r *http.Request, methods map[string]route) {
	w, began := &answer{ResponseWriter: raw}, time.Now()
	var rt route
	defer func() { s.Metrics.request(r.Method, rt.path, w, time.Since(began)) }()
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			panic(p) // cuts the connection
		} else if p != nil {
			s.Log.Error("request handler panicked", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			writeError(w, fabric.Errorf(fabric.CodeInternal, "internal", "%s %s failed inside the daemon", r.Method, r.URL.Path).WithFix("see its log"))
		}
	}()
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var ok bool
	if rt, ok = methods[method]; !ok {
		allowed := make([]string, 0, len(methods))
		for m := range methods {
			allowed = append(allowed, m)
		}
		slices.Sort(allowed)
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		writeErrorStatus(w, http.StatusMethodNotAllowed, fabric.Errorf(fabric.CodeNotSupported, "method-not-allowed",
			"%s of %s is not possible", r.Method, r.URL.Path).WithFix("use %s", strings.Join(allowed, ", ")))
		return
	}
	req := s.newRequest(raw, r)
	req.trusted = s.isTrusted(r, req.snap)
	if err := req.admit(rt.access); err != nil {
		writeError(w, err)
		return
	}
	rep, err := rt.handle(s, req)
	if err != nil {
		if fabric.CodeOf(err) == fabric.CodeInternal {
			s.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		}
		writeError(w, err)
		return
	}
	if rep.stream != nil { // what takes over the connection needs the writer itself
		w.streamed = true
		rep.stream(raw)
		return
	}
	rep.write(w, r)
}

func (r *request) admit(a access) error {
	if err := sameOrigin(r.Request); err != nil {
		return err
	}
	if !r.trusted && a != anyone {
		return fabric.Errorf(fabric.CodeForbidden, "not-trusted", "the client is not trusted here").
			WithFix("on a member, fabricctl config trust add NAME makes a token that lxc remote add takes")
	}
	if !r.status.Bootstrapped && a == trusted {
		return errNotInCluster
	}
	if project := r.query("project"); project != "" && project != "default" {
		return fabric.NotFoundf("project %q does not exist", project).WithFix("the one project is called default")
	}
	// Clients that place an instance in a group send that with whatever else they ask: what is of one member refuses it by itself.
	if _, err := r.place(); err != nil {
		return err
	}
	return nil
}

var errNotInCluster = fabric.Errorf(fabric.CodeUnavailable, "not-in-cluster", "this daemon is in no cluster yet").
	WithFix("form one with fabricctl cluster bootstrap NAME, or join one with fabricctl cluster join TOKEN")

// sameOrigin refuses what a web page of somebody else makes a browser send.
func sameOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	if u, err := url.Parse(origin); err == nil && strings.EqualFold(u.Host, r.Host) {
		return nil
	}
	return fabric.Errorf(fabric.CodeForbidden, "cross-origin", "requests from web pages of %s are refused", origin)
}

// isTrusted tells whether the caller may use the API.
func (s *Server) isTrusted(r *http.Request, snap *fabric.Snapshot) bool {
	if r.Context().Value(unixKey{}) != nil {
		return true
	}
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	if _, ok := s.Cluster.MemberOf(r.TLS); ok {
		return true
	}
	cert, now := r.TLS.PeerCertificates[0], time.Now()
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return false
	}
	_, known := snap.Certificate(connFingerprint(*r.TLS))
	return known
}

// errRevoked ends what a caller has under way when the trust in it ends.
var errRevoked = fabric.Errorf(fabric.CodeForbidden, "not-trusted", "the client is trusted no more")

// whileTrusted is a context that ends with ctx, or with the trust in the caller of a request, then because of errRevoked.
func (s *Server) whileTrusted(ctx context.Context, r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	changed, end := s.Store.Subscribe()
	go func() {
		defer end()
		for s.isTrusted(r, s.Store.Snapshot()) {
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
		cancel(errRevoked)
	}()
	return ctx, func() { cancel(nil) }
}

func (r *request) query(name string) string { return r.URL.Query().Get(name) }

// recursion is how deep a list is wanted: 0 addresses, 1 objects, 2 objects with their state.
func (r *request) recursion() int {
	switch r.query("recursion") {
	case "1":
		return 1
	case "2":
		return 2
	}
	return 0
}

// target is the member that the request is about, empty where none is named.
func (r *request) target() (string, error) {
	name := r.query("target")
	if name == "" || name == "none" {
		return "", nil
	}
	if _, ok := r.snap.Member(name); !ok && name != r.status.Self {
		return "", fabric.NotFoundf("target %q is not a member of the cluster", name).WithFix("see fabricctl cluster list")
	}
	return name, nil
}

// place is the target, which may also be @GROUP: where an instance is to go.
func (r *request) place() (string, error) {
	group, ok := strings.CutPrefix(r.query("target"), "@")
	if !ok {
		return r.target()
	}
	if key := (fabric.Key{Kind: fabric.KindGroup, Name: group}); group != fabric.DefaultGroup && !has(r.snap, key) {
		return "", notFound(key)
	}
	return "@" + group, nil
}

// subject is the target, or this member.
func (r *request) subject() string {
	target, _ := r.target() // checked when the request was admitted
	return cmp.Or(target, r.status.Self)
}

// offline tells whether a member is known not to be there.
func offline(status fabric.ClusterStatus, member string) bool {
	if member == status.Self {
		return false
	}
	return !slices.ContainsFunc(status.Members, func(m fabric.MemberStatus) bool { return m.Name == member && m.Online })
}
