package bgptest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// ExaBGP is a speaker without a kernel table that says everything it hears: exabgp on a host.
type ExaBGP struct {
	t      testing.TB
	Node   *Node
	listen string
	dir    string
	cmd    *exec.Cmd
}

// StartExaBGP starts exabgp with the given neighbors, which are configured with "api { processes [ watch ]; … }" where they are to be heard. It
// accepts sessions at the addresses of listen.
func StartExaBGP(t testing.TB, n *Node, neighbors string, listen ...string) *ExaBGP {
	t.Helper()
	e := &ExaBGP{t: t, Node: n, listen: strings.Join(listen, " "), dir: t.TempDir()}
	e.Restart(neighbors)
	return e
}

// Restart ends exabgp if it runs, and starts it with other neighbors. What it heard before is forgotten.
func (e *ExaBGP) Restart(neighbors string) {
	e.t.Helper()
	if e.cmd != nil {
		e.cmd.Process.Kill()
		e.cmd.Wait()
	}
	// What exabgp has to say it writes to the process. The shell keeps the output open by which the process could say something.
	config, watch := filepath.Join(e.dir, "exabgp.conf"), filepath.Join(e.dir, "watch")
	for name, text := range map[string]string{
		config:    fmt.Sprintf("process watch { run %s; encoder json; }\n%s", watch, neighbors),
		watch:     fmt.Sprintf("#!/bin/sh\ncat > %s\n", e.heard()),
		e.heard(): "",
	} {
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			e.t.Fatal(err)
		}
	}
	e.cmd = e.Node.Start("env", "exabgp.daemon.user=root", "exabgp.daemon.drop=false", "exabgp.api.cli=false", "exabgp.tcp.bind="+e.listen, "exabgp.log.destination=stdout",
		"/usr/sbin/exabgp", config)
}

func (e *ExaBGP) heard() string { return filepath.Join(e.dir, "heard.json") }

// ExaEvent is something that exabgp tells of a neighbor.
type ExaEvent struct {
	Type     string `json:"type"` // state, update, notification
	Neighbor struct {
		Address struct {
			Peer string `json:"peer"`
		} `json:"address"`
		State     string `json:"state"`     // up, connected, down
		Reason    string `json:"reason"`    // of down
		Direction string `json:"direction"` // of the others
		Message   struct {
			Update struct {
				Attribute struct {
					Community []ExaCommunity `json:"community"`
					ASPath    []int          `json:"as-path"`
					MED       int            `json:"med"`
				} `json:"attribute"`
				Announce map[string]json.RawMessage `json:"announce"` // by family
				Withdraw map[string][]ExaPrefix     `json:"withdraw"` // by family
			} `json:"update"`
		} `json:"message"`
		Notification struct {
			Code    int `json:"code"`
			Subcode int `json:"subcode"`
		} `json:"notification"`
	} `json:"neighbor"`
}

// ExaPrefix is a prefix that an update names.
type ExaPrefix struct {
	NLRI string `json:"nlri"`
}

// ExaCommunity is a community in its two halves.
type ExaCommunity [2]int

func (c ExaCommunity) String() string { return fmt.Sprintf("%d:%d", c[0], c[1]) }

// Events are what exabgp has told since its start.
func (e *ExaBGP) Events() []ExaEvent {
	e.t.Helper()
	data, err := os.ReadFile(e.heard())
	if err != nil {
		e.t.Fatal(err)
	}
	return ParseExa(string(data))
}

// ParseExa reads what exabgp has written to a process of its configuration, as JSON.
func ParseExa(text string) (events []ExaEvent) {
	for line := range strings.Lines(text) {
		var v ExaEvent
		if strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &v) == nil { // acknowledgements are not JSON, and the last line may not be whole yet
			events = append(events, v)
		}
	}
	return events
}

// ExaTable is what exabgp has been told by a neighbor and not been told the contrary of: communities by prefix. up tells whether the session is.
func ExaTable(events []ExaEvent, peer string) (table map[string][]string, up bool) {
	table = map[string][]string{}
	for _, v := range events {
		if v.Neighbor.Address.Peer != peer {
			continue
		}
		if v.Type == "state" {
			if up = v.Neighbor.State == "up"; !up {
				clear(table)
			}
			continue
		}
		update := v.Neighbor.Message.Update
		var communities []string
		for _, c := range update.Attribute.Community {
			communities = append(communities, c.String())
		}
		for _, family := range update.Withdraw {
			for _, p := range family {
				delete(table, p.NLRI)
			}
		}
		for _, text := range update.Announce {
			var hops map[string][]ExaPrefix // by next hop; an end of RIB looks otherwise and names none
			if json.Unmarshal(text, &hops) != nil {
				continue
			}
			for _, prefixes := range hops {
				for _, p := range prefixes {
					table[p.NLRI] = communities
				}
			}
		}
	}
	return table, up
}

// Session waits until the session with a neighbor is up.
func (e *ExaBGP) Session(peer string, bound time.Duration) {
	e.t.Helper()
	Eventually(e.t, bound, func() string {
		if _, up := ExaTable(e.Events(), peer); !up {
			return "exabgp has no session with " + peer
		}
		return ""
	})
}

// Notified tells whether a neighbor has sent a notification.
func Notified(events []ExaEvent, peer string, code, subcode int) bool {
	return slices.ContainsFunc(events, func(v ExaEvent) bool {
		return v.Type == "notification" && v.Neighbor.Address.Peer == peer && v.Neighbor.Direction == "receive" && v.Neighbor.Notification.Code == code && v.Neighbor.Notification.Subcode == subcode
	})
}
