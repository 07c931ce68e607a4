package cluster

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"netfabric/fabric"
)

// TestHeirReadsLate asks a leader to hand over to a member that reads nothing for so long that the leader gives the transfer up, and only then
// what was sent for it.
func TestHeirReadsLate(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	m := openMember(t, "n2", t.TempDir(), nil)
	t.Cleanup(func() { m.close(t) })
	if err := m.Bootstrap(ctx, "n2", freeAddress(t)); err != nil {
		t.Fatal(err)
	}
	var processes []*process
	for _, name := range []string{"n1", "n3"} {
		token, err := m.AddToken(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		// What was freed is overwritten at once, so that its use is noticed.
		p := &process{dir: t.TempDir(), name: name, address: freeAddress(t), env: []string{"GLIBC_TUNABLES=glibc.malloc.perturb=165:glibc.malloc.tcache_count=0"}}
		p.start(t, token)
		t.Cleanup(func() { p.signal(t, syscall.SIGKILL) })
		processes = append(processes, p)
	}
	leader, heir := processes[0], processes[1]
	leader.lead(t, []*member{m})

	heir.signal(t, syscall.SIGSTOP)
	for i := range 16 { // more than sockets hold
		profile := &fabric.Profile{Header: fabric.Header{Name: fmt.Sprint("large-", i)}, Config: fabric.Config{"user.large": strings.Repeat("x", 64<<10)}}
		if _, err := m.Apply(ctx, func(tx *fabric.Tx) error { return tx.Put(profile) }); err != nil {
			t.Fatal(err)
		}
	}
	c, err := m.engine.client(ctx, leader.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	self, _ := m.Snapshot().Member(heir.name)
	for range 3 {
		if err := c.Transfer(ctx, self.NodeID); err == nil {
			t.Error("leadership was transferred to a member that is stopped")
		}
	}

	heir.signal(t, syscall.SIGCONT)
	heir.lead(t, []*member{m}) // reads what was sent to it
	if _, err := m.engine.client(ctx, leader.address); err != nil {
		t.Errorf("the former leader: %v", err)
	}
}
