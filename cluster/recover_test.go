package cluster

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"netfabric/fabric"
)

// putProfile writes a profile on a member.
func putProfile(t *testing.T, m *member, name string) {
	t.Helper()
	eventually(t, m.Name()+" writes", func() bool {
		_, err := m.Apply(t.Context(), func(tx *fabric.Tx) error { return tx.Put(&fabric.Profile{Header: fabric.Header{Name: name}}) })
		return err == nil
	})
}

// recoverOn recovers from the loss of the quorum on a member that is stopped, and starts it.
func recoverOn(t *testing.T, m *member) *member {
	t.Helper()
	r, err := PrepareRecovery(t.Context(), RecoverOptions{Dir: m.dir, Known: m.Snapshot().Revision})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := r.Commit()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{identityFile, peersFile, m.current().Lineage.name()} {
		if _, err := os.Stat(filepath.Join(kept, name)); err != nil {
			t.Errorf("not kept: %v", err)
		}
	}
	return reopen(t, m)
}

// killAll kills members at once: one that has a lease takes seconds to notice.
func killAll(members ...*member) {
	var wait sync.WaitGroup
	for _, m := range members {
		wait.Go(m.kill)
	}
	wait.Wait()
}

// reopen starts a member again, with what it knew.
func reopen(t *testing.T, m *member) *member {
	t.Helper()
	again := openMember(t, filepath.Base(m.dir), m.dir, m.Snapshot())
	t.Cleanup(func() { again.close(t) })
	return again
}

// TestRecoverFromQuorumLoss loses two voters of three, makes the third one's copy the cluster's, and has the lost ones come back with a quorum of
// their own.
func TestRecoverFromQuorumLoss(t *testing.T) {
	voting, standby := byRole(t, startCluster(t, 4))
	survivor, lost := voting[2], voting[:2]
	putProfile(t, survivor, "before")
	eventually(t, "the stand-by has it", func() bool { return hasProfile(standby.Snapshot(), "before") })
	killAll(lost...)
	refusedRecovery(t, survivor, "in-use", 0)
	survivor.kill()
	refusedRecovery(t, survivor, "older-copy", survivor.Snapshot().Revision+1)
	if entries, err := filepath.Glob(filepath.Join(survivor.dir, "*-*")); err != nil || len(entries) != 0 {
		t.Errorf("left behind by a refusal: %v, %v", entries, err)
	}
	// A write that the recovered copy does not have was seen by the other one that is left.
	ghost, err := standby.Snapshot().Advance(standby.Snapshot().Revision+1, []fabric.Row{profileRow(t, "ghost", standby.Snapshot().Revision+1)})
	if err != nil {
		t.Fatal(err)
	}
	standby.publish(ghost, standby.Reports(), false)

	survivor = recoverOn(t, survivor)
	putProfile(t, survivor, "after")
	eventually(t, "the other one that is left takes it over", func() bool { return hasProfile(standby.Snapshot(), "after") })
	if s := standby.Snapshot(); hasProfile(s, "ghost") || !hasProfile(s, "before") {
		t.Errorf("it mixes two databases: ghost %t, before %t", hasProfile(s, "ghost"), hasProfile(s, "before"))
	}
	putProfile(t, standby, "second")

	// The lost ones decide among themselves while they reach nobody else.
	killAll(survivor, standby)
	for i, m := range lost {
		lost[i] = reopen(t, m)
	}
	putProfile(t, lost[0], "stray")
	survivor, standby = reopen(t, survivor), reopen(t, standby)
	for _, m := range lost {
		eventually(t, m.Name()+" takes it over", func() bool { return hasProfile(m.Snapshot(), "after") && !hasProfile(m.Snapshot(), "stray") })
	}
	putProfile(t, lost[1], "all")
	eventually(t, "all have all", func() bool {
		for _, m := range []*member{survivor, standby, lost[0], lost[1]} {
			if !hasProfile(m.Snapshot(), "all") || hasProfile(m.Snapshot(), "stray") {
				return false
			}
		}
		return true
	})
	killAll(survivor, standby, lost[0], lost[1]) // in good order it takes long
}

// byRole tells three voters from a stand-by, as its copy of the database does.
func byRole(t *testing.T, members []*member) (voting []*member, standby *member) {
	t.Helper()
	eventually(t, "three vote and one stands by", func() bool {
		voting, standby = nil, nil
		for _, m := range members {
			c, err := Inspect(m.dir)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(c.Nodes, func(n CopyNode) bool { return n.Name == m.Name() })
			switch {
			case i >= 0 && c.Nodes[i].Role == "voter":
				voting = append(voting, m)
			case i >= 0 && c.Nodes[i].Role == "stand-by":
				standby = m
			}
		}
		return len(voting) == 3 && standby != nil
	})
	return voting, standby
}

func refusedRecovery(t *testing.T, m *member, reason string, known uint64) {
	t.Helper()
	_, err := PrepareRecovery(t.Context(), RecoverOptions{Dir: m.dir, Known: known})
	if fabric.ReasonOf(err) != reason {
		t.Errorf("got %q: %v, want %q", fabric.ReasonOf(err), err, reason)
	}
}

// TestTwoRecoveries makes two databases of one cluster, and one of them the cluster's.
func TestTwoRecoveries(t *testing.T) {
	members := startCluster(t, 3)
	putProfile(t, members[0], "before")
	eventually(t, "all have it", func() bool {
		return hasProfile(members[1].Snapshot(), "before") && hasProfile(members[2].Snapshot(), "before")
	})
	refusedRecovery(t, members[0], "in-use", 0)
	members[2].close(t)
	refusedRecovery(t, members[2], "has-quorum", 0) // the other two go on
	killAll(members[:2]...)
	a, b := recoverOn(t, members[0]), members[1]
	eventually(t, "the recovered one answers", func() bool { return a.Status().Quorum && b.ping(t.Context(), a.Address()) == nil })
	refusedRecovery(t, b, "recovered-already", 0)
	a.kill()
	b = recoverOn(t, b)
	a = reopen(t, a)
	putProfile(t, a, "a")
	putProfile(t, b, "b")
	rivals := func(m, other *member) bool {
		for _, s := range m.Status().Members {
			if s.Name == other.Name() {
				return strings.Contains(s.Message, "rejoin "+m.Name())
			}
		}
		return false
	}
	eventually(t, "both say that there are two databases", func() bool { return rivals(a, b) && rivals(b, a) })

	if _, err := Rejoin(t.Context(), b.dir, a.Name()); fabric.ReasonOf(err) != "in-use" {
		t.Errorf("rejoin while it runs: %v", err)
	}
	b.kill()
	if _, err := Rejoin(t.Context(), b.dir, "n9"); fabric.ReasonOf(err) != "not-found" {
		t.Errorf("rejoin a stranger: %v", err)
	}
	if _, err := Rejoin(t.Context(), b.dir, a.Name()); err != nil {
		t.Fatal(err)
	}
	if _, err := Rejoin(t.Context(), b.dir, a.Name()); fabric.ReasonOf(err) != "same-database" {
		t.Errorf("rejoin again: %v", err)
	}
	b = reopen(t, b)
	eventually(t, "one database", func() bool { return hasProfile(b.Snapshot(), "a") && !hasProfile(b.Snapshot(), "b") })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := a.Remove(ctx, "n3", true); err != nil {
		t.Fatal(err)
	}
	// One that was removed from the recovered database gives its own up all the same, and hears that it is no member.
	c := reopen(t, members[2])
	eventually(t, "it hears that it was removed", func() bool { return c.Status().Removed })
	if c.current().Lineage.String() != a.current().Lineage.String() {
		t.Errorf("it kept its database: %v", c.current().Lineage)
	}
	killAll(a, b, c)
}
