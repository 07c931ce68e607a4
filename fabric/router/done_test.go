package router

import (
	"testing"

	"netfabric/fabric"
)

// What came of a view is given again only for the very same one, and only where nothing was left to do.
func TestDoneHolds(t *testing.T) {
	state, other := &fabric.RoutingState{}, &fabric.RoutingState{}
	view := fabric.View{Member: "n1", Desired: fabric.EmptySnapshot(), Reports: fabric.EmptyReports(), Facts: fabric.Facts{
		Networks: map[string]fabric.NetworkFact{"br0": {Bridge: "br0"}}, Routing: state,
	}}
	with := func(change func(*fabric.View)) fabric.View {
		v := view
		change(&v)
		return v
	}
	complete := outcomeOf(view, state, fabric.Report{}, true)
	for _, c := range []struct {
		name string
		done done
		m    *Module
		view fabric.View
		want bool
	}{
		{"the same", complete, &Module{state: state}, view, true},
		{"another word of its own", complete, &Module{state: state}, with(func(v *fabric.View) { v.Facts.Routing = other }), true},
		{"equal facts", complete, &Module{state: state}, with(func(v *fabric.View) { v.Facts.Networks = map[string]fabric.NetworkFact{"br0": {Bridge: "br0"}} }), true},
		{"other facts", complete, &Module{state: state}, with(func(v *fabric.View) { v.Facts.Networks = map[string]fabric.NetworkFact{} }), false},
		{"another snapshot", complete, &Module{state: state}, with(func(v *fabric.View) { s := *v.Desired; v.Desired = &s }), false},
		{"other reports", complete, &Module{state: state}, with(func(v *fabric.View) { r := *v.Reports; v.Reports = &r }), false},
		{"a member goes offline", complete, &Module{state: state}, with(func(v *fabric.View) { v.Offline = []string{"n2"} }), false},
		{"the worker has news", complete, &Module{state: state, moved: true}, view, false},
		{"another state", complete, &Module{state: other}, view, false},
		{"a failure", outcomeOf(view, state, fabric.Report{}, false), &Module{state: state}, view, false},
		{"something held back", outcomeOf(view, state, fabric.Report{Again: 1}, true), &Module{state: state}, view, false},
		{"no worker yet", outcomeOf(view, nil, fabric.Report{}, true), &Module{}, view, false},
		{"nothing yet", done{}, &Module{}, fabric.View{}, false},
	} {
		if got := c.done.holds(c.m, c.view); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}
