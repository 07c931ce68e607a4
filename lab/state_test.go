package lab

import "testing"

func TestJudge(t *testing.T) {
	live, dead := identity{PID: 1, Start: 1}, identity{PID: 2, Start: 2}
	alive := func(i identity) bool { return i == live }
	on := map[string]nodeState{"a": {Holder: live}, "b": {Holder: dead}}
	off := map[string]nodeState{"a": {Holder: dead}}
	for _, row := range []struct {
		name  string
		state *state
		want  verdict
	}{
		{"no record", nil, nothingThere},
		{"another boot", &state{BootID: "old", Phase: phaseUp, Nodes: on}, leftovers},
		{"runner at work", &state{BootID: "b", Phase: phaseStarting, Runner: live, Nodes: on}, starting},
		{"runner died", &state{BootID: "b", Phase: phaseStarting, Runner: dead, Nodes: on}, leftovers},
		{"up, runner long gone", &state{BootID: "b", Phase: phaseUp, Runner: dead, Nodes: on}, running},
		{"up, every node dead", &state{BootID: "b", Phase: phaseUp, Runner: live, Nodes: off}, leftovers},
		{"up, owner dead", &state{BootID: "b", Phase: phaseUp, Owner: &dead, Nodes: on}, leftovers},
		{"up, owner alive", &state{BootID: "b", Phase: phaseUp, Owner: &live, Nodes: on}, running},
	} {
		if got := judge(row.state, "b", alive); got != row.want {
			t.Errorf("%s: verdict %d, want %d", row.name, got, row.want)
		}
	}
}
