package bfd

import (
	"fmt"
	"time"
)

// Limits and defaults of a Config.
const (
	MinInterval       = 10 * time.Millisecond
	MaxInterval       = 10 * time.Second
	DefaultInterval   = 300 * time.Millisecond
	DefaultMultiplier = 3
)

// idleInterval is the least Desired Min TX Interval of a session that is not Up (RFC 5880, 6.8.3).
const idleInterval = time.Second

// Config is how a session is to be run.
type Config struct {
	MinTx      time.Duration // Desired Min TX Interval once Up: 10 ms to 10 s in whole microseconds
	MinRx      time.Duration // Required Min RX Interval: 10 ms to 10 s in whole microseconds
	Multiplier uint8         // Detect Mult: packets that the neighbour may miss in a row, 1-255
	Passive    bool          // send nothing before the neighbour did (RFC 5880, 6.1)

	// Independent tells the neighbour that the session lives on while the control plane restarts (C bit: RFC 5880, 4.1; RFC 5882, 4.3).
	Independent bool
}

// Default fills what is not set.
func (c Config) Default() Config {
	if c.MinTx == 0 {
		c.MinTx = DefaultInterval
	}
	if c.MinRx == 0 {
		c.MinRx = DefaultInterval
	}
	if c.Multiplier == 0 {
		c.Multiplier = DefaultMultiplier
	}
	return c
}

// Validate checks the ranges.
func (c Config) Validate() error {
	for _, i := range []struct {
		name  string
		value time.Duration
	}{{"transmission", c.MinTx}, {"reception", c.MinRx}} {
		if i.value < MinInterval || i.value > MaxInterval || i.value%time.Microsecond != 0 {
			return fmt.Errorf("%s interval %s is not within %s-%s in whole microseconds", i.name, i.value, MinInterval, MaxInterval)
		}
	}
	if c.Multiplier == 0 {
		return fmt.Errorf("detection multiplier 0 is not within 1-255")
	}
	return nil
}

// ActionKind tells which field of an Action counts.
type ActionKind uint8

// The kinds of actions.
const (
	ActionSend   ActionKind = iota + 1 // send Packet to the neighbour now
	ActionChange                       // the state changed, see Change
)

// Action is what the driver of a session has to do. Actions are in order.
type Action struct {
	Kind   ActionKind
	Packet Packet
	Change Change
}

// Change is a change of a session's state.
type Change struct {
	From, To    State
	Diag        Diag  // why, as this side sees it
	RemoteState State // of the neighbour, as last heard
	RemoteDiag  Diag  // why, as the neighbour last said
}

// Failure tells whether what depends on the path has to be torn down: the session was Up and neither side was taken down by an operator
// (RFC 5882, 3.2 and 4.2).
func (c Change) Failure() bool {
	return c.From == Up && c.To == Down && c.RemoteState != AdminDown
}

// pollPhase is where a Poll Sequence is (RFC 5880, 6.5).
type pollPhase uint8

const (
	pollIdle     pollPhase = iota
	pollActive             // packets carry P until one with F comes back
	pollSettling           // F has come; a packet without F has to come before the next sequence, so that its F is told from an old one (6.8.3)
)

// Session is the state machine of one session in asynchronous mode (RFC 5880, 6.8). It has no clock and does no I/O: its driver calls Recv for
// each packet, Expire when Deadline has come, and does the actions. The slice of actions is valid until the next call. Not for concurrent use.
//
//	           received from the neighbour             detection
//	state      AdminDown  Down      Init      Up        time over
//	Down       -          Init      Up        -         -
//	Init       Down       -         Up        Up        Down, diag 1
//	Up         Down       Down      -         -         Down, diag 1
//	AdminDown  -          -         -         -         -
//
// Down for what was received has diag 3.
type Session struct {
	cfg    Config
	jitter func() float64

	// Variables of RFC 5880, 6.8.1.
	state      State
	diag       Diag
	localDiscr uint32
	minTx      time.Duration // bfd.DesiredMinTxInterval
	minRx      time.Duration // bfd.RequiredMinRxInterval
	remote     Packet        // the neighbour's last one; MyDiscr is 0 while the neighbour is not known

	// What timers run with: minTx and minRx, save for what has to wait, see settle.
	txInterval time.Duration
	rxInterval time.Duration

	poll      pollPhase
	pollAgain bool // a parameter changed during a Poll Sequence: another one has to follow
	farewells int  // packets in AdminDown still to be sent at the pace of before

	lastTx  time.Time // last packet sent by the timer or for a change
	wait    float64   // share of the transmission interval until the next one: 1 less the jitter
	nextTx  time.Time // zero: no periodic packets
	lastRx  time.Time // last packet of the neighbour
	expires time.Time // end of the detection time; zero: the neighbour is not known

	actions []Action
}

// New makes a session in state Down that sends its first packet at once, unless it is passive. discr is its discriminator: not 0, and unique on
// this host. jitter is a source of numbers in [0,1).
func New(cfg Config, discr uint32, jitter func() float64, now time.Time) *Session {
	s := &Session{cfg: cfg, jitter: jitter, state: Down, localDiscr: discr, wait: 1}
	s.forget()
	s.minTx, s.minRx = max(cfg.MinTx, idleInterval), cfg.MinRx
	s.txInterval, s.rxInterval = s.minTx, s.minRx
	s.lastTx = now.Add(-s.txInterval)
	s.schedule()
	return s
}

// Deadline is when Expire has to be called; zero is never.
func (s *Session) Deadline() time.Time {
	if s.nextTx.IsZero() || !s.expires.IsZero() && s.expires.Before(s.nextTx) {
		return s.expires
	}
	return s.nextTx
}

// Expire does what is due: ends the detection time, sends a periodic packet.
func (s *Session) Expire(now time.Time) []Action {
	s.actions = s.actions[:0]
	if !s.expires.IsZero() && !now.Before(s.expires) {
		// 6.8.1: the discriminator of a neighbour that was silent for a detection time is forgotten. 6.8.4: in Init and Up the session is down.
		last := s.remote
		s.forget()
		if s.state == Init || s.state == Up {
			s.become(Down, DiagExpired, last)
			s.transmit(now)
		}
		s.schedule()
	}
	if !s.nextTx.IsZero() && !now.Before(s.nextTx) {
		s.transmit(now)
		s.schedule()
	}
	return s.actions
}

// Recv takes a packet that Parse accepted and that belongs to this session (RFC 5880, 6.8.6). In AdminDown it only shows what the neighbour knows.
func (s *Session) Recv(now time.Time, p Packet) []Action {
	s.actions = s.actions[:0]
	s.remote, s.lastRx = p, now
	starts := s.polled(p.Final)
	if s.state == AdminDown {
		if p.State <= Down {
			s.farewells = 0
			s.settle()
		}
		s.schedule()
		return s.actions
	}
	before := s.state
	switch {
	case p.State == AdminDown && s.state != Down, p.State == Down && s.state == Up:
		s.become(Down, DiagNeighborDown, p)
	case p.State == Down && s.state == Down:
		s.become(Init, s.diag, p)
	case p.State == Init && s.state == Down, p.State >= Init && s.state == Init:
		s.become(Up, DiagNone, p)
	}
	if p.Poll {
		// 6.8.7: at once, whatever the timers say.
		final := s.packet()
		final.Poll, final.Final = false, true
		s.send(final)
	}
	// 6.8.7: a change is told at once; the packet with F may have told it, but not begun the Poll Sequence that the change needs.
	if changed := s.state != before; starts || changed && (!p.Poll || s.poll == pollActive) {
		s.transmit(now)
	}
	s.schedule()
	return s.actions
}

// Reconfigure runs the session with cfg from now on, through a Poll Sequence where timers change (RFC 5880, 6.8.3 and 6.8.12).
func (s *Session) Reconfigure(now time.Time, cfg Config) []Action {
	s.actions = s.actions[:0]
	if cfg == s.cfg {
		return nil
	}
	s.cfg = cfg
	s.negotiate()
	if s.known() {
		s.transmit(now)
	}
	s.schedule()
	return s.actions
}

// AdminDown holds the session down and tells the neighbour that this is no failure (RFC 5880, 6.8.16). Until the neighbour shows that it knows,
// Multiplier packets go out at the pace of before, although 6.8.3 wants a second between those of a session that is not Up: otherwise one lost
// packet would make a failure out of it.
func (s *Session) AdminDown(now time.Time) []Action {
	s.actions = s.actions[:0]
	if s.state == AdminDown {
		return nil
	}
	if s.state != Down && s.interval() > 0 {
		s.farewells = int(s.cfg.Multiplier)
	}
	s.become(AdminDown, DiagAdminDown, s.remote)
	s.transmit(now)
	s.schedule()
	return s.actions
}

// Enable ends AdminDown.
func (s *Session) Enable(now time.Time) []Action {
	s.actions = s.actions[:0]
	if s.state != AdminDown {
		return nil
	}
	s.farewells = 0
	s.become(Down, DiagNone, s.remote)
	s.transmit(now)
	s.schedule()
	return s.actions
}

// Released tells whether a session in AdminDown can be dropped: the neighbour knows of it, or was told often enough.
func (s *Session) Released() bool { return s.state == AdminDown && s.farewells == 0 }

// Status is what can be seen of a session.
type Status struct {
	State            State
	Diag             Diag          // why, as this side sees it
	LocalDiscr       uint32        // this side's discriminator
	Remote           Packet        // the neighbour's last packet; zero but for State, which is Down, when silent for a detection time
	TransmitInterval time.Duration // between periodic packets, before jitter; 0: none are sent
	DetectionTime    time.Duration // after which a silent neighbour is down; 0 while it is not known
	PollSequence     bool          // a change of timers waits for the neighbour's answer
	LastPacket       time.Time     // when the neighbour was last heard; zero is never
}

// Status returns what can be seen.
func (s *Session) Status() Status {
	st := Status{State: s.state, Diag: s.diag, LocalDiscr: s.localDiscr, Remote: s.remote, PollSequence: s.poll == pollActive, LastPacket: s.lastRx}
	if !s.known() {
		st.Remote = Packet{State: Down}
	} else {
		st.DetectionTime = s.detectionTime()
	}
	if !s.silent() {
		st.TransmitInterval = s.interval()
	}
	return st
}

// become changes the state, and with it the Desired Min TX Interval. remote is the neighbour's last packet.
func (s *Session) become(to State, diag Diag, remote Packet) {
	c := Change{From: s.state, To: to, Diag: diag, RemoteState: remote.State, RemoteDiag: remote.Diag}
	s.state, s.diag = to, diag
	s.negotiate()
	s.actions = append(s.actions, Action{Kind: ActionChange, Change: c})
}

// negotiate advertises what the configuration and the state want, and begins a Poll Sequence when that is new (6.8.3).
func (s *Session) negotiate() {
	minTx, minRx := s.cfg.MinTx, s.cfg.MinRx
	if s.state != Up {
		minTx = max(minTx, idleInterval)
	}
	if minTx != s.minTx || minRx != s.minRx {
		s.minTx, s.minRx = minTx, minRx
		switch {
		case !s.known(): // nobody there to be asked
		case s.poll == pollIdle:
			s.poll = pollActive
		default:
			s.pollAgain = true
		}
	}
	s.settle()
}

// polled moves the Poll Sequence on by a received packet, and tells whether a new one begins with it.
func (s *Session) polled(final bool) (starts bool) {
	switch {
	case s.poll == pollActive && final:
		s.poll = pollSettling
	case s.poll == pollSettling && !final:
		s.poll = pollIdle
		if s.pollAgain {
			s.poll, s.pollAgain, starts = pollActive, false, true
		}
	}
	s.settle()
	return starts
}

// settle lets timers run with what is advertised, save that a session that is Up waits for the end of the Poll Sequence with a longer
// transmission interval and a shorter detection time (6.8.3).
func (s *Session) settle() {
	unanswered := s.state == Up && (s.poll == pollActive || s.pollAgain)
	if s.farewells == 0 && !(unanswered && s.minTx > s.txInterval) {
		s.txInterval = s.minTx
	}
	if !(unanswered && s.minRx < s.rxInterval) {
		s.rxInterval = s.minRx
	}
}

// forget drops what is known of the neighbour (6.8.1).
func (s *Session) forget() {
	s.remote = Packet{State: Down, MinRx: time.Microsecond}
	s.poll, s.pollAgain = pollIdle, false
	s.settle()
}

func (s *Session) known() bool { return s.remote.MyDiscr != 0 }

// interval is the transmission interval before jitter; 0 is none (6.8.7).
func (s *Session) interval() time.Duration {
	if s.remote.MinRx == 0 {
		return 0
	}
	return max(s.txInterval, s.remote.MinRx)
}

// detectionTime follows 6.8.4.
func (s *Session) detectionTime() time.Duration {
	return time.Duration(s.remote.Multiplier) * max(s.rxInterval, s.remote.MinTx)
}

// silent tells whether there are no periodic packets (6.8.7): the neighbour wants none, asks for demand mode with both sides Up, or has to begin.
func (s *Session) silent() bool {
	demand := s.remote.Demand && s.state == Up && s.remote.State == Up && s.poll != pollActive
	return s.interval() == 0 || demand || s.cfg.Passive && !s.known()
}

// schedule sets both timers from what they depend on. New values count at once, from the last packet on (6.8.3).
func (s *Session) schedule() {
	s.expires, s.nextTx = time.Time{}, time.Time{}
	if s.known() {
		s.expires = s.lastRx.Add(s.detectionTime())
	}
	if !s.silent() {
		s.nextTx = s.lastTx.Add(time.Duration(float64(s.interval()) * s.wait))
	}
}

// transmit sends a packet and starts the next transmission interval with fresh jitter: 0-25 %, or 10-25 % with a multiplier of 1 (6.8.7).
func (s *Session) transmit(now time.Time) {
	if s.cfg.Passive && !s.known() {
		return
	}
	s.send(s.packet())
	most, spread := 1.0, 0.25
	if s.cfg.Multiplier == 1 {
		most, spread = 0.90, 0.15
	}
	s.lastTx, s.wait = now, most-spread*s.jitter()
	if s.farewells > 0 {
		s.farewells--
		s.settle()
	}
}

func (s *Session) packet() Packet {
	return Packet{
		Diag: s.diag, State: s.state, Poll: s.poll == pollActive, ControlPlaneIndependent: s.cfg.Independent, Multiplier: s.cfg.Multiplier,
		MyDiscr: s.localDiscr, YourDiscr: s.remote.MyDiscr, MinTx: s.minTx, MinRx: s.minRx,
	}
}

func (s *Session) send(p Packet) {
	s.actions = append(s.actions, Action{Kind: ActionSend, Packet: p})
}
