package gobgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/osrg/gobgp/v3/pkg/log"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// peerErrors remembers for each peer why the session is not established: GoBGP says so only in its log. Addresses are without zone.
type peerErrors struct {
	mu    sync.Mutex
	text  map[netip.Addr]string
	fresh chan struct{} // signalled when there is news
}

func newPeerErrors() *peerErrors {
	return &peerErrors{text: map[netip.Addr]string{}, fresh: make(chan struct{}, 1)}
}

func (e *peerErrors) last(a netip.Addr) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text[a.WithZone("")]
}

func (e *peerErrors) set(a netip.Addr, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.text[a.WithZone("")] = text
}

func (e *peerErrors) forget(a netip.Addr) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.text, a.WithZone(""))
}

// note takes what is an error of a session out of a log line. Less is known of an end that says no more than that there was one.
func (e *peerErrors) note(message string, fields log.Fields) {
	text, weak := "", false
	switch message {
	case "failed to connect":
		err, _ := fields["Error"].(error)
		text = "cannot connect: " + inWords(err)
	case "received notification":
		code, _ := fields["Code"].(uint8)
		subcode, _ := fields["Subcode"].(uint8)
		text = "the peer ended the session: " + bgp.NewNotificationErrorCode(code, subcode).String()
		if reason, _ := fields["Communicated-Reason"].(string); reason != "" {
			text += fmt.Sprintf(" (%q)", reason)
		}
	case "sent notification":
		err, ok := fields["Data"].(error)
		if !ok {
			return
		}
		text = refused + err.Error()
	case "hold timer expired":
		text = "nothing heard from the peer during the hold time"
	case "Peer Down":
		text, weak = "the connection was closed", true
	case "state changed":
		text = endOfOpening(fields)
	}
	if text == "" {
		return
	}
	key, _ := fields["Key"].(string)
	a, err := netip.ParseAddr(key)
	if err != nil {
		return
	}
	a = a.WithZone("")
	e.mu.Lock()
	defer e.mu.Unlock()
	if weak && e.text[a] != "" || e.text[a] == text || message == "state changed" && strings.HasPrefix(e.text[a], refused) {
		return
	}
	e.text[a] = text
	select {
	case e.fresh <- struct{}{}:
	default:
	}
}

// refused begins what is said of a session that this side does not want.
const refused = "session refused: "

// endOfOpening tells how a session ended that was not established yet, empty where the change of state is no such end. GoBGP keeps to itself what a
// peer's notification says by then.
func endOfOpening(fields log.Fields) string {
	before, _ := fields["old"].(string)
	after, _ := fields["new"].(string)
	if before != "BGP_FSM_OPENSENT" && before != "BGP_FSM_OPENCONFIRM" || after != "BGP_FSM_IDLE" && after != "BGP_FSM_ACTIVE" {
		return ""
	}
	switch fmt.Sprint(fields["reason"]) {
	case "invalid-msg":
		return "the peer refused the session when it was opened: its log says why; most often it expects other AS numbers"
	case "read-failed":
		return "the peer closed the connection when the session was opened: its log may say why"
	}
	return ""
}

func inWords(err error) string {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return errno.Error()
	}
	if os.IsTimeout(err) {
		return "no answer"
	}
	return fmt.Sprint(err)
}

// logger passes on what GoBGP has to say, and notes errors of sessions. It asks for everything, because connection failures are debug lines.
type logger struct {
	log     *slog.Logger
	errors  *peerErrors
	phases  *phases
	onState func(peer netip.Addr, state string)
	// onStranger hears of connections from addresses of no peer.
	onStranger func(netip.Addr)
	onSilence  func(peer netip.Addr) // hears of hold times that are over
}

// follow takes a change of state out of a log line. GoBGP writes it before anything is read from the peer in that state.
func (l *logger) follow(message string, fields log.Fields) {
	switch message {
	case "hold timer expired":
		key, _ := fields["Key"].(string)
		if a, err := netip.ParseAddr(key); err == nil && l.onSilence != nil {
			l.onSilence(a.WithZone(""))
		}
	case "sync finished":
		l.phases.synchronised(time.Now())
	case "state changed":
		key, _ := fields["Key"].(string)
		text, _ := fields["new"].(string)
		a, err := netip.ParseAddr(key)
		if err != nil || laggardNet.Contains(a) {
			return
		}
		state := strings.ToLower(strings.TrimPrefix(text, "BGP_FSM_"))
		l.phases.entered(a.WithZone(""), state, time.Now())
		if l.onState != nil {
			l.onState(a.WithZone(""), state)
		}
	}
}

// greet takes the address of somebody who connected and is no peer out of a log line.
func (l *logger) greet(message string, fields log.Fields) {
	if l.onStranger == nil || message != "Can't find configuration for a new passive connection" {
		return
	}
	key, _ := fields["Key"].(string)
	if a, err := netip.ParseAddr(key); err == nil {
		l.onStranger(a)
	}
}

func (l *logger) line(level slog.Level, message string, fields log.Fields) {
	l.errors.note(message, fields)
	l.follow(message, fields)
	l.greet(message, fields)
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	args := make([]any, 0, 2*len(fields))
	for k, v := range fields {
		args = append(args, k, v)
	}
	l.log.Log(context.Background(), level, "gobgp: "+message, args...)
}

func (l *logger) Panic(m string, f log.Fields) {
	l.line(slog.LevelError, m, f)
	panic(m)
}

func (l *logger) Fatal(m string, f log.Fields) {
	l.line(slog.LevelError, m, f)
	os.Exit(1)
}

func (l *logger) Error(m string, f log.Fields) { l.line(slog.LevelError, m, f) }
func (l *logger) Warn(m string, f log.Fields) {
	level := slog.LevelWarn
	if strings.HasPrefix(m, "No matching path for withdraw") {
		level = slog.LevelDebug // a peer took back what no import policy had let in
	}
	l.line(level, m, f)
}

func (l *logger) Info(m string, f log.Fields)  { l.line(slog.LevelDebug, m, f) }
func (l *logger) Debug(m string, f log.Fields) { l.line(slog.LevelDebug-4, m, f) }
func (l *logger) SetLevel(log.LogLevel)        {}
func (l *logger) GetLevel() log.LogLevel       { return log.DebugLevel }
