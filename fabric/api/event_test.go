package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// until reads events until ok.
func until(t *testing.T, s *EventStream, what string, ok func(incusapi.Event) bool) {
	t.Helper()
	stop := time.AfterFunc(10*time.Second, func() { s.Close() })
	defer stop.Stop()
	for {
		e, err := s.Next()
		if err != nil {
			t.Fatalf("%s was not seen: %v", what, err)
		}
		if ok(e) {
			return
		}
	}
}

func listen(t *testing.T, m *member, types ...string) *EventStream {
	t.Helper()
	s, err := m.unix.Events(t.Context(), types...)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func TestLifecycleEvents(t *testing.T) {
	f := bootstrapped(t, "n1", "n2")
	// What is done through one member is seen at another.
	s := listen(t, f.members["n2"], "lifecycle")
	c := f.members["n1"].unix
	// Changes that follow each other closely merge: each is awaited before the next is made.
	await := func(action, source string) {
		t.Helper()
		until(t, s, action+" of "+source, func(e incusapi.Event) bool {
			var l incusapi.EventLifecycle
			must(t, json.Unmarshal(e.Metadata, &l))
			if e.Type != "lifecycle" || e.Location != "n2" || e.Project != "default" {
				t.Fatalf("got %+v", e)
			}
			return l.Action == action && l.Source == source
		})
	}
	f.members["n1"].launch(t, "c1", "n1")
	await("instance-created", "/1.0/instances/c1")
	op, err := c.UpdateInstanceState(t.Context(), "c1", incusapi.InstanceStatePut{Action: "stop"})
	wait(t, op, err)
	op, err = c.DeleteInstance(t.Context(), "c1")
	wait(t, op, err)
	await("instance-deleted", "/1.0/instances/c1")
	f.members["n1"].setOffline("n1", true)
	await("cluster-member-offline", "/1.0/cluster/members/n1")
}

func TestLifecycleDiff(t *testing.T) {
	base := seen{fabric.EmptySnapshot(), fabric.EmptyReports(), map[string]bool{"n1": true}}
	now := base
	advance := func(change func(tx *fabric.Tx)) {
		t.Helper()
		tx := fabric.NewTx(now.snap)
		change(tx)
		_, next, err := tx.Finish(now.snap.Revision + 1)
		must(t, err)
		now.snap = next
	}
	_, pem := newCertificate(t, "n1", farFuture)
	advance(func(tx *fabric.Tx) {
		must(t, tx.Put(&fabric.Member{Header: fabric.Header{Name: "n1"}, Address: "192.0.2.1:8443", Certificate: pem}))
		must(t, tx.Put(&fabric.Cluster{Header: fabric.Header{Name: fabric.ClusterName}}))
		must(t, tx.Put(&fabric.Pool{Header: fabric.Header{Name: "local"}, Driver: "dir"}))
		must(t, tx.Put(&fabric.Instance{Header: fabric.Header{Name: "c1"}, Type: "container", Power: fabric.PowerRunning, Member: "n1", Pool: "local"}))
	})
	report := func(status fabric.InstanceStatus, boots uint64) {
		c := fabric.Condition{Object: instanceKey("c1"), Member: "n1", Type: fabric.ConditionInstance}.WithData(fabric.InstanceState{Status: status, Boots: boots})
		now.reports = now.reports.With(now.reports.Counter+1, []fabric.Condition{c}, nil)
	}
	actions := func() []string {
		var got []string
		for _, e := range lifecycle(base, now) {
			got = append(got, e.Action)
		}
		base = now
		return got
	}
	for _, step := range []struct {
		change func()
		want   []string
	}{
		{func() {}, []string{"cluster-member-added", "storage-pool-created", "instance-created", "config-updated"}},
		{func() {}, nil},
		{func() { report(fabric.InstanceRunning, 1) }, []string{"instance-started"}},
		{func() { report(fabric.InstanceRunning, 2) }, []string{"instance-restarted"}},
		{func() { report(fabric.InstanceError, 2) }, []string{"instance-error"}},
		{func() { report(fabric.InstanceStopped, 2) }, []string{"instance-stopped"}},
		{func() { now.online = map[string]bool{"n1": false} }, []string{"cluster-member-offline"}},
		{func() { now.online = map[string]bool{"n1": true} }, []string{"cluster-member-online"}},
		{func() {
			advance(func(tx *fabric.Tx) { must(t, tx.Delete(instanceKey("c1"))) })
		}, []string{"instance-deleted"}},
	} {
		step.change()
		if got := actions(); !slices.Equal(got, step.want) {
			t.Fatalf("got %v, want %v", got, step.want)
		}
	}
}

func TestOperationEvents(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	s := listen(t, m, "operation")
	op, err := m.unix.CreateInstance(t.Context(), newInstancePost("c1", false))
	must(t, err)
	var states []string
	until(t, s, "the end of the operation", func(e incusapi.Event) bool {
		var o incusapi.Operation
		must(t, json.Unmarshal(e.Metadata, &o))
		if o.ID == op.ID {
			states = append(states, o.Status)
		}
		return o.ID == op.ID && o.StatusCode == incusapi.Success
	})
	if !slices.Equal(states, []string{"Running", "Success"}) {
		t.Fatalf("got %v", states)
	}
}

func TestLoggingEvents(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	s := listen(t, m, "logging")
	var plain bytes.Buffer
	log := slog.New(m.server.Events.LogHandler(slog.NewTextHandler(&plain, nil))).With("peer", "tor1").WithGroup("g")
	log.Info("session is up", "asn", 64512, "password", "hunter2")
	until(t, s, "the record", func(e incusapi.Event) bool {
		var l incusapi.EventLogging
		must(t, json.Unmarshal(e.Metadata, &l))
		want := incusapi.EventLogging{Message: "session is up", Level: "info", Context: map[string]string{"peer": "tor1", "g.asn": "64512", "g.password": "(secret)"}}
		if !reflect.DeepEqual(l, want) {
			t.Fatalf("got %+v", l)
		}
		return true
	})
	if !strings.Contains(plain.String(), "session is up") {
		t.Fatal("the next handler was not called")
	}
}

// TestSlowListener sees that who does not read is cut off, and nobody else waits.
func TestSlowListener(t *testing.T) {
	hub := NewHub()
	slow, quick := hub.listen(nil), hub.listen([]string{EventRouting})
	for range backlog + 1 {
		hub.publish(EventRouting, "", RoutingEvent{})
		<-quick.events
	}
	n := 0
	for range slow.events {
		n++
	}
	if n != backlog || !hub.wanted(EventRouting) || hub.wanted("logging") {
		t.Fatalf("the slow listener got %d events", n)
	}
	hub.leave(quick)
	hub.leave(slow)
	hub.close()
	if _, open := <-hub.listen(nil).events; open {
		t.Fatal("a closed hub takes listeners")
	}
}

func TestEventsEndWithTheServer(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	s := listen(t, m)
	m.server.Close()
	if _, err := s.Next(); err == nil || errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	_, err := m.unix.CreateInstance(t.Context(), newInstancePost("c1", false))
	refused(t, err, fabric.CodeUnavailable, "too-many-operations")
	_, err = m.unix.Events(t.Context(), "nonsense")
	refused(t, err, fabric.CodeInvalid, "bad-type")
}

// TestEventsWithoutType checks that a stock client, which asks for no type, gets none that it does not know.
func TestEventsWithoutType(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	conn, err := m.unix.websocket(t.Context(), "/1.0/events")
	must(t, err)
	s := &EventStream{conn: conn, stop: context.AfterFunc(t.Context(), func() { conn.Close() })}
	defer s.Close()
	m.server.Events.publish(EventRouting, "", RoutingEvent{Action: "session-up"})
	m.server.Events.publish(incusapi.EventTypeLifecycle, "default", incusapi.EventLifecycle{Action: "marker"})
	until(t, s, "the marker", func(e incusapi.Event) bool {
		if e.Type == EventRouting {
			t.Error("a routing event was sent unasked")
		}
		return bytes.Contains(e.Metadata, []byte("marker"))
	})
}
