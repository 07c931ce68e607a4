package lxc

import (
	"slices"
	"testing"
)

func TestParentsOfCgroups(t *testing.T) {
	for _, c := range []struct {
		name, proc string
		want       []string
	}{
		{"at the top", "8:pids:/f-1/c1\n4:memory:/f-1/c1\n", []string{""}},
		{"below those of process 1", "8:pids:/f-1/c1\n4:memory:/api/2e/f-1/c1\n", []string{"", "/api/2e"}},
		{"init is further down", "0::/lab/n1/f-1/c1/init.scope\n", []string{"/lab/n1"}},
		{"another container", "8:pids:/f-1/c10\n4:memory:/f-2/c1\n0::/\n", nil},
		{"nothing", "", nil},
	} {
		if got := parents(c.proc, "f-1/c1"); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
