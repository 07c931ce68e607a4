package bfd

import "testing"

func TestExplainSaysNothingTwice(t *testing.T) {
	down := Status{State: Down}
	down.Remote.State = Down
	for _, c := range []struct {
		change Change
		want   string
	}{
		{Change{Diag: DiagExpired}, "nothing heard within the detection time"},
		{Change{Diag: DiagNeighborDown}, "neighbour signalled session down"},
		{Change{Diag: DiagNeighborDown, RemoteDiag: DiagExpired}, "neighbour signalled session down: nothing heard within the detection time"},
		{Change{Diag: DiagNeighborDown, RemoteDiag: DiagNeighborDown}, "neighbour signalled session down"},
	} {
		if got := explain(down, true, c.change); got != c.want {
			t.Errorf("%+v: %q, want %q", c.change, got, c.want)
		}
	}
}
