package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics counts what happens, for Prometheus. What is, is looked up at each scrape. Methods are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	applied  prometheus.Histogram
	restarts prometheus.Counter
}

// NewMetrics makes metrics in a registry of their own.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fabric_api_requests_total", Help: "Requests to the API of this member, by method, path as the API describes it, and HTTP status.",
		}, []string{"method", "path", "code"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fabric_api_request_duration_seconds", Help: "Time from a request to its whole answer, without streams and waits.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
		}, []string{"method", "path"}),
		applied: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "fabric_routing_apply_duration_seconds", Help: "Time from when this member saw a new state (of the database, or of what runs here) to the worker's word that the routing that follows from it is in force.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
		}),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fabric_routing_worker_restarts_total", Help: "Times another routing worker was found in place of the one before, since this daemon started.",
		}),
	}
	m.registry.MustRegister(m.requests, m.latency, m.applied, m.restarts,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Applied notes how long a routing value took from plan to force.
func (m *Metrics) Applied(d time.Duration) { m.applied.Observe(d.Seconds()) }

// WorkerRestarted notes that the routing worker is another one.
func (m *Metrics) WorkerRestarted() { m.restarts.Inc() }

// request notes a request that has been answered. path is that of its route, empty where it has none.
func (m *Metrics) request(method, path string, answer *answer, took time.Duration) {
	if path == "" {
		method, path = "", "other" // both are the caller's words: anything
	}
	code := "stream"
	if !answer.streamed {
		code = strconv.Itoa(answer.status)
	}
	m.requests.WithLabelValues(method, path, code).Inc()
	if !answer.streamed && !strings.HasSuffix(path, "/wait") {
		m.latency.WithLabelValues(method, path).Observe(took.Seconds())
	}
}

// answer is a ResponseWriter that remembers the status.
type answer struct {
	http.ResponseWriter
	status   int
	streamed bool // something else than an answer in one piece
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (s *Server) getMetrics(r *request) (reply, error) {
	return reply{stream: func(w http.ResponseWriter) { s.scrape.ServeHTTP(w, r.Request) }}, nil
}

// scraper answers scrapes, a few at a time.
func (s *Server) scraper() http.Handler {
	s.Metrics.registry.MustRegister(&stateCollector{s})
	return promhttp.HandlerFor(s.Metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}
