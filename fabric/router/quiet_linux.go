package router

import (
	"github.com/vishvananda/netlink"
)

// arrived counts the packets that have been brought to copies so far, by the interface of the copy.
func (w *Worker) arrived() map[string]uint64 {
	wanted := map[string]bool{}
	for _, a := range w.routing.Announcements {
		for _, c := range a.Copies {
			wanted[c.Link] = true
		}
	}
	all, err := netlink.LinkList()
	if err != nil {
		w.log.Warn("cannot count packets", "error", err)
	}
	packets := map[string]uint64{}
	for _, l := range all {
		// What the host sends into its end of the pair arrives in the instance.
		if a := l.Attrs(); wanted[a.Name] && a.Statistics != nil {
			packets[a.Name] = a.Statistics.TxPackets
		}
	}
	return packets
}

// acknowledged tells whether peers have acknowledged all that they were sent.
func (w *Worker) acknowledged() bool {
	yes, err := w.speaker.Acknowledged()
	if err != nil {
		w.log.Warn("cannot see what peers have acknowledged", "error", err)
	}
	return yes || err != nil
}
