package cluster

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"netfabric/fabric"
)

// profileRow is a profile as it is stored.
func profileRow(t *testing.T, name string, revision uint64) fabric.Row {
	t.Helper()
	r, err := fabric.Encode(&fabric.Profile{Header: fabric.Header{Name: name, Revision: revision}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func hasProfile(s *fabric.Snapshot, name string) bool { _, ok := s.Profile(name); return ok }

func TestHear(t *testing.T) {
	s := newStore(nil, logger(t, "listener"))
	s.database = func() string { return "" }
	s.changed = func(*fabric.Snapshot) {}
	key := fabric.Key{Kind: fabric.KindProfile, Name: "a"}
	ready := fabric.Condition{Object: key, Member: "n2", Type: fabric.ConditionReady}
	first := commit{Revision: 1, Rows: []fabric.Row{profileRow(t, "a", 1)}}
	second := commit{Revision: 2, FromRevision: 1, Rows: []fabric.Row{profileRow(t, "b", 2), {Kind: fabric.KindProfile, Name: "a", Revision: 2, Deleted: true}, {Kind: "of-tomorrow", Name: "x", Revision: 2}}}
	fourth := commit{Revision: 4, FromRevision: 3, Rows: []fabric.Row{profileRow(t, "d", 4)}}
	said := commit{Revision: 2, FromRevision: 2, Counter: 7, Reports: []reported{{Set: []fabric.Condition{ready}}}}
	unsaid := commit{Revision: 2, FromRevision: 2, Counter: 8, FromCounter: 7, Reports: []reported{{Gone: []fabric.ConditionKey{ready.Key()}}}}
	for _, step := range []struct {
		name              string
		told              []commit
		revision, counter uint64
		profiles          string
		conditions        int
	}{
		{"nothing", nil, 0, 0, "", 0},
		{"not from here on", []commit{second}, 0, 0, "", 0},
		{"two in a row, with a deletion", []commit{first, second}, 2, 0, "b", 0},
		{"again", []commit{first, second}, 2, 0, "b", 0},
		{"with a gap", []commit{fourth}, 2, 0, "b", 0},
		{"a report", []commit{said}, 2, 7, "b", 1},
		{"a report taken back, and a gap", []commit{unsaid, fourth}, 2, 8, "b", 0},
	} {
		// As it comes from another member.
		p := poke{}
		for _, c := range step.told {
			encoded, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			p = p.add(c.Revision, c.Counter, encoded)
		}
		told, err := p.commits()
		if err == nil {
			err = s.hear(told)
		}
		var profiles []string
		for _, x := range s.Snapshot().Profiles() {
			profiles = append(profiles, x.Name)
		}
		if got := strings.Join(profiles, " "); err != nil || s.Snapshot().Revision != step.revision || s.Reports().Counter != step.counter || got != step.profiles || len(s.Reports().Of(key)) != step.conditions {
			t.Errorf("%s: error %v, revision %d, counter %d, profiles %q, %d conditions, want %+v", step.name, err, s.Snapshot().Revision, s.Reports().Counter, got, len(s.Reports().Of(key)), step)
		}
	}
}

// TestPokeIsBounded adds commits to a poke that nobody takes: it must not grow for ever, nor have a hole in it.
func TestPokeIsBounded(t *testing.T) {
	var p poke
	encoded, shrunk := json.RawMessage(`"`+strings.Repeat("x", maxTold/10)+`"`), false
	for n := range uint64(100) {
		before := len(p.Commits)
		p = p.add(n, 0, encoded)
		shrunk = shrunk || len(p.Commits) < before
		if len(p.Commits) > 10 || p.Revision != n {
			t.Fatalf("poke %d is of revision %d and carries %d commits", n, p.Revision, len(p.Commits))
		}
	}
	if !shrunk {
		t.Error("the poke never let go of what it carried")
	}
	if p = p.add(100, 0, nil); len(p.Commits) != 0 {
		t.Error("a commit that can't be told leaves a hole")
	}
}

// TestMembersHear tells a member of a commit that the database does not have, so that it can't have been read there.
func TestMembersHear(t *testing.T) {
	members := startCluster(t, 2)
	speaker, listener := members[0], members[1]
	tell := func(from uint64) {
		t.Helper()
		encoded, err := json.Marshal(commit{Revision: from + 1, FromRevision: from, Rows: []fabric.Row{profileRow(t, "heard", from+1)}})
		if err != nil {
			t.Fatal(err)
		}
		p := poke{}.add(from+1, 0, encoded)
		if _, _, err := ask[struct{}](t.Context(), speaker.http, http.MethodPost, "https://"+listener.Address()+pokePath, p); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both know the same", func() bool { return listener.Snapshot().Revision == speaker.Snapshot().Revision })
	tell(listener.Snapshot().Revision + 1)
	if hasProfile(listener.Snapshot(), "heard") {
		t.Error("a commit that does not follow on what is known was taken in")
	}
	tell(listener.Snapshot().Revision)
	if !hasProfile(listener.Snapshot(), "heard") {
		t.Error("a commit that follows on what is known was not taken in")
	}
}
