package router

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

// Files of the state directory.
const (
	crashFile   = "crash.log"      // what the Go runtime has to say when this run crashes
	crashBefore = "crash-last.log" // the same of the last run that did
	seenFile    = "sessions.json"
	penaltyFile = "penalties.json"
)

// watchdog finds out who crashed the worker, and remembers what it costs.
type watchdog struct {
	disk      *disk
	log       *slog.Logger
	penalties penalties

	mu   sync.Mutex
	file *os.File
	seen map[netip.Addr]sighting
}

// openWatchdog looks at how the last run ended, and watches this one.
func openWatchdog(d *disk, log *slog.Logger, now time.Time) (*watchdog, error) {
	w := &watchdog{disk: d, log: log, penalties: penalties{}, seen: map[netip.Addr]sighting{}}
	if err := d.read(penaltyFile, &w.penalties); err != nil {
		log.Warn("penalties are forgotten", "error", err)
	}
	if err := w.inquire(now); err != nil {
		log.Warn("cannot tell how the last run ended", "error", err)
	}
	crash, err := os.OpenFile(d.path(crashFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("watch for a crash: %w", err)
	}
	defer crash.Close() // the runtime has a copy
	if err := debug.SetCrashOutput(crash, debug.CrashOptions{}); err != nil {
		return nil, fmt.Errorf("watch for a crash: %w", err)
	}
	if w.file, err = os.OpenFile(d.path(seenFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("watch for a crash: %w", err)
	}
	return w, nil
}

// inquire holds the crash of the last run, if it was one, against a peer.
func (w *watchdog) inquire(now time.Time) error {
	trace, err := os.ReadFile(w.disk.path(crashFile))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(bytes.TrimSpace(trace)) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	seen := map[netip.Addr]sighting{}
	err = w.disk.read(seenFile, &seen)
	if e := os.Rename(w.disk.path(crashFile), w.disk.path(crashBefore)); err == nil {
		err = e
	}
	peer, found := blame(string(trace), seen)
	if !found {
		w.log.Error("the last run crashed, by no peer's doing", "trace", w.disk.path(crashBefore))
		return err
	}
	w.penalties.crashed(peer, now)
	x := w.penalties[peer]
	w.log.Error("the last run crashed, and this peer is believed to be the cause", "peer", peer, "crashes", x.Crashes, "until", x.Until, "trace", w.disk.path(crashBefore))
	if e := w.disk.write(penaltyFile, w.penalties, true); err == nil {
		err = e
	}
	return err
}

// saw notes the state that a session enters, before anything is read in it. What is written survives the end of the process.
func (w *watchdog) saw(peer netip.Addr, state string) {
	switch state {
	case "opensent", "openconfirm", "established", "idle":
	default:
		return // nothing is read in it
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if state == "idle" {
		if _, ok := w.seen[peer]; !ok {
			return
		}
		delete(w.seen, peer)
	} else {
		w.seen[peer] = sighting{State: state, At: time.Now()}
	}
	data, err := json.Marshal(w.seen)
	if err == nil {
		// Blanks, which mean nothing, cover what was there before.
		if info, e := w.file.Stat(); e == nil && int(info.Size()) > len(data) {
			data = append(data, bytes.Repeat([]byte{' '}, int(info.Size())-len(data))...)
		}
		_, err = w.file.WriteAt(data, 0)
	}
	if err != nil {
		w.log.Warn("sessions are not noted for the case of a crash", "error", err)
	}
}
