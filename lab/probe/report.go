package probe

import (
	"maps"
	"slices"
	"time"
)

// Report is what the requests of a span of time say.
type Report struct {
	Sent int
	Lost int
	// Moved are those of Sent that were answered only by a second connection, see Sample.
	Moved int
	// Outage is how long requests were being lost after the event: from it to the sending of the last lost request. Requests may have been
	// answered in between, where several routers or members share the load.
	Outage time.Duration
	From   []string // who answered, by name
}

// Since looks at the samples sent from an event to end. The samples need no order.
func Since(samples []Sample, event, end time.Duration) Report {
	var r Report
	from := map[string]bool{}
	for _, s := range samples {
		// A request that was under way at the event may be lost to it.
		lostToIt := s.Sent < event && s.Sent+s.Took > event && s.Error != ""
		if (s.Sent < event || s.Sent > end) && !lostToIt {
			continue
		}
		r.Sent++
		if s.Moved {
			r.Moved++
		}
		if s.Error == "" {
			from[s.From] = true
			continue
		}
		r.Lost++
		r.Outage = max(r.Outage, s.Sent-event)
	}
	r.From = slices.Sorted(maps.Keys(from))
	return r
}
