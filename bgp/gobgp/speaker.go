// Package gobgp speaks BGP: it keeps sessions and announced paths as they are given, by means of GoBGP.
package gobgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/osrg/gobgp/v3/pkg/server"

	"netfabric/fabric"
)

// Config is all that a speaker has to do. What is not in it is to be undone.
type Config struct {
	Speaker *fabric.Speaker // nil: end all sessions
	Peers   []fabric.RoutingPeer
	Paths   []Path
	Imports []fabric.Import         // what is taken of peers; of a peer that is not here, nothing
	Keys    map[netip.Prefix]string // TCP MD5 passwords of connections that are accepted, beside those of peers
	RPKI    []fabric.RoutingRPKI
	Closed  bool           // sessions are accepted from this host alone: nobody guards the sockets that they come in by
	Own     []netip.Prefix // nothing inside of these is taken of any peer that is not another member
	// NextHops are, by name, the IPv6 next hops to tell other members whose sessions run over IPv4; those without one are not told of IPv6 prefixes.
	NextHops map[string]netip.Addr
	// Restarting tells that an earlier run of this program had these sessions, ended less than a restart time ago, and that the kernel has
	// forwarded since as it did: peers are asked to keep the routes they have (RFC 4724, 4.1).
	Restarting bool
	Version    uint64 // any number that grows: State tells which one is in force
}

// Path is a prefix to announce, with this speaker as next hop.
type Path struct {
	Prefix netip.Prefix
	Peers  []string // names of the peers that are told; a session carries only the family that it runs over
	// Attributes are, by peer, what else is told. The AS number is put in front as often as the set says beyond the once that is due anyway.
	Attributes map[string]fabric.PolicySet
}

// State is how a speaker is. It must not be changed.
type State struct {
	Peers []fabric.PeerState // by name
	RPKI  []fabric.RPKIState // by name
	Err   error              // why the last Config is not in force
	// Version is that of the Config in force: established peers have been told of its paths, or are being told.
	Version uint64
}

// Speaker is one BGP speaker. What it takes of peers it does not install anywhere itself: see Learned.
type Speaker struct {
	log     *slog.Logger
	changed func()
	errors  *peerErrors
	phases  *phases
	logger  *logger

	mu      sync.Mutex
	desired *Config
	state   State
	turned  chan struct{}     // closed when another version is in force
	failed  map[string]string // peers whose sessions are to end, and why
	wake    chan struct{}
	stop    chan chan struct{}
	fail    chan struct{}
	learned *learned

	internal map[netip.Addr]bool          // peers with our own AS number, by address without zone; under mu
	restarts map[netip.Addr]time.Duration // for how long routes of peers are kept that may be restarting; under mu
	ports    map[netip.Addr]ports         // of the sessions with peers, by address without zone; under mu

	// Of the goroutine of Run.
	server    *server.BgpServer
	running   *fabric.Speaker
	began     time.Time
	resumes   bool // it goes on where it was, with sessions that peers take to be restarting
	events    chan event
	validator *validator
	sessions  map[string]*session // by name
	book      *book
	classes   *classes
	round     uint64                  // of classify
	keys      map[netip.Prefix]string // that listening sockets have
	laggard   *laggard                // nil: there is none
	closed    bool                    // listening sockets take nothing of other hosts
	imports   string                  // that are in force, see importKey
	judged    map[netip.Addr]string   // what the paths that are kept were judged by, see importRules
	mesh      string                  // that is in force, see meshKey
	following bool                    // see followPaths
	version   uint64                  // of the config in force
	stale     bool                    // the state does not show all that happened
	told      bool                    // peers may have been told something since the state was read
	unranked  bool                    // which of our paths are the best is to be looked at again
	due       time.Time               // when it will again; zero while it does
	looked    time.Time               // when state was read last
	took      time.Duration           // and how long that took
	moved     bool                    // a session has come or gone since
	err       error
}

// New makes a speaker. changed is called after each change of State; it must not block.
func New(log *slog.Logger, changed func()) *Speaker {
	s := &Speaker{
		log: log, changed: changed, errors: newPeerErrors(), phases: newPhases(),
		wake: make(chan struct{}, 1), stop: make(chan chan struct{}),
		events: make(chan event, 64), book: newBook(), turned: make(chan struct{}), failed: map[string]string{}, fail: make(chan struct{}, 1),
	}
	s.validator = newValidator()
	s.learned = newLearned(func() {})
	s.forget()
	s.logger = &logger{log: log, errors: s.errors, phases: s.phases, onSilence: s.learned.silence}
	s.server = server.NewBgpServer(server.LoggerOption(s.logger))
	return s
}

func (s *Speaker) forget() {
	s.sessions, s.classes, s.imports, s.mesh = map[string]*session{}, newClasses(), "", ""
	s.book.clear()
	s.keys = nil // the listening sockets are gone
}

// OnState has f called when a session enters a state ("opensent", …), before anything is read from the peer in it, so that a crash by what is read
// can be traced to the peer. The address is without zone. Only before Run. f must not block.
func (s *Speaker) OnState(f func(peer netip.Addr, state string)) { s.logger.onState = f }

// OnStranger has f called when somebody connects who is no peer; the connection is closed. Only before Run. f must not block.
func (s *Speaker) OnStranger(f func(netip.Addr)) { s.logger.onStranger = f }

// Apply makes c what the speaker has to do. It returns at once; State tells what has become of it. Of several configs in short order, only
// the last counts.
func (s *Speaker) Apply(c Config) {
	s.mu.Lock()
	s.desired = &c
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// State is how the speaker is.
func (s *Speaker) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Await waits until a config of that version, or of a later one, has been put in force, or could not be, or ctx ends.
func (s *Speaker) Await(ctx context.Context, version uint64) {
	for {
		s.mu.Lock()
		over, turned := s.state.Version >= version || s.state.Err != nil, s.turned
		s.mu.Unlock()
		if over {
			return
		}
		select {
		case <-turned:
		case <-ctx.Done():
			return
		}
	}
}

// Stop ends all sessions with a Cease: peers drop our routes at once. It needs Run to be running, and ends it. To leave without Stop is what
// peers see as a graceful restart.
func (s *Speaker) Stop(ctx context.Context) {
	done := make(chan struct{})
	select {
	case s.stop <- done:
	case <-ctx.Done():
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Times of the loop.
const (
	retryAfter = time.Second           // a config that could not be put in force
	readAfter  = 5 * time.Millisecond  // state after a change, so that changes come first
	readEvery  = 5 * time.Second       // state, for the counters of what peers announce
	readShare  = 20                    // at most this part of the time goes into reading state: it stops GoBGP for as long
	newsShare  = 4                     // the same when a session has come or gone, or all that comes with it has, which people wait to hear
	readFloor  = 20 * time.Millisecond // between two readings
	settleTime = time.Second           // after which a new session is read again whose peer doesn't say when it has told everything
)

// Run does the work until ctx ends. It then leaves sessions as they are: they break with the process.
func (s *Speaker) Run(ctx context.Context) {
	go s.server.Serve()
	s.watch(ctx)
	read := time.NewTimer(readEvery)
	retry := time.NewTimer(time.Hour)
	retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case done := <-s.stop:
			s.shutdown(ctx)
			close(done)
			return
		case <-s.wake:
			s.release(ctx)
			if s.apply(ctx); s.err != nil {
				retry.Reset(retryAfter)
			}
			s.releaseLaggard(ctx)
		case <-s.fail:
			s.endFailed(ctx)
		case <-retry.C:
			s.nudge()
		case e := <-s.events:
			if e.session != nil {
				s.event(ctx, e.session)
			} else {
				s.complete(e.endOfRIB)
			}
			s.releaseLaggard(ctx)
		case <-s.phases.fresh:
			s.keepRestarting(ctx)
		case <-s.validator.data:
			s.feedData(ctx)
		case serial := <-s.validator.heard:
			s.revalidate(ctx, serial)
		case <-s.validator.state:
			s.stale = true
		case <-s.errors.fresh:
			s.stale = true
		case <-read.C:
			s.read(ctx)
			s.releaseLaggard(ctx)
			s.due = time.Time{}
			read.Reset(s.restAfterRead(time.Now()))
		}
		if s.stale {
			if due := s.nextRead(time.Now()); s.due.IsZero() || due.Before(s.due) {
				s.due = due
				read.Reset(time.Until(due))
			}
		}
	}
}

// nextRead is when to read state that is known to be stale.
func (s *Speaker) nextRead(now time.Time) time.Time {
	share := time.Duration(readShare)
	if s.moved {
		share = newsShare
	}
	due, rested := now.Add(readAfter), s.looked.Add(max(readFloor, share*s.took))
	if rested.After(due) {
		return rested
	}
	return due
}

// restAfterRead is for how long nothing has to be read if nothing happens. What a peer announces takes a moment to come, and is no event by itself.
func (s *Speaker) restAfterRead(now time.Time) time.Duration {
	rest := readEvery
	for _, x := range s.sessions {
		if x.settles.After(now) {
			rest = min(rest, max(x.settles.Sub(now), readFloor, newsShare*s.took))
		}
	}
	return rest
}

// complete takes note that a peer has told everything of a family.
func (s *Speaker) complete(address string) {
	if x := s.byAddress(address); x != nil && x.state == established {
		x.settles = time.Time{}
		s.stale, s.moved = true, true
	}
}

func (s *Speaker) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// newest is the newest config, and whether it is another one than c.
func (s *Speaker) newest(c *Config) (*Config, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.desired, s.desired != c
}

// apply puts the newest config in force.
func (s *Speaker) apply(ctx context.Context) {
	for c, more := s.newest(nil); more; c, more = s.newest(c) {
		s.err = s.put(ctx, c)
		s.mu.Lock()
		s.state.Version, s.state.Err = s.version, s.err
		close(s.turned)
		s.turned = make(chan struct{})
		s.mu.Unlock()
	}
	s.stale, s.told = true, true
}

// put puts c in force. Only where all of it is, and was not left for a newer one halfway, its version is: peers may count on it.
func (s *Speaker) put(ctx context.Context, c *Config) error {
	c, unheard := s.hearable(c)
	done, err := s.carryOut(ctx, c)
	if done && err == nil {
		s.version = c.Version
	}
	return errors.Join(unheard, err)
}

// carryOut does what c says; done is false where it stopped early for a newer config.
func (s *Speaker) carryOut(ctx context.Context, c *Config) (done bool, err error) {
	s.know(c)
	s.leave(c)
	if s.running != nil && (c.Speaker == nil || *c.Speaker != *s.running) {
		s.holdPaths(c)
		if s.resumes = s.elsewhere(c.Speaker); s.resumes {
			s.hangUp()
		}
		s.shutdown(ctx)
	}
	if c.Speaker == nil {
		return true, s.setCaches(ctx, &Config{})
	}
	if s.running == nil {
		if err := s.start(ctx, *c.Speaker, c.Closed); err != nil {
			return false, err
		}
		if (c.Restarting || s.resumes) && len(c.Peers) > 1 {
			s.startLaggard(ctx)
		}
	}
	// Sessions that go, go first: their addresses may be another's now. Sessions that come, come last: their first words are complete then.
	s.relimit(c)
	err = errors.Join(s.dropPeers(ctx, c), s.setCaches(ctx, c))
	err = errors.Join(err, s.setKeys(c.Keys), s.setDoor(c.Closed))
	done, perr := s.setPaths(ctx, c, s.classify(c))
	if err = errors.Join(err, perr); !done {
		return false, err
	}
	return true, errors.Join(err, s.addPeers(ctx, c))
}

// read learns how sessions are.
func (s *Speaker) read(ctx context.Context) {
	began := time.Now()
	next := State{Err: s.err, Version: s.version}
	s.readSessions(ctx)
	for _, name := range slices.Sorted(maps.Keys(s.sessions)) {
		p := s.sessions[name].public(s.errors)
		p.Sent = s.book.sent(name)
		next.Peers = append(next.Peers, p)
	}
	next.RPKI = s.validator.caches()
	news := s.told
	s.stale, s.told, s.moved = false, false, false
	s.looked, s.took = time.Now(), time.Since(began)
	s.mu.Lock()
	news = news || s.state.Version != next.Version || !slices.Equal(s.state.Peers, next.Peers) || !slices.Equal(s.state.RPKI, next.RPKI) || fmt.Sprint(s.state.Err) != fmt.Sprint(next.Err)
	s.state = next
	s.mu.Unlock()
	if news {
		s.changed()
	}
}
