package bgp

import "netfabric/fabric"

// Values of attributes for a weight of nothing.
const (
	topMED        = 65535 // less the weight: the lowest is preferred
	baseLocalPref = 100   // plus the weight: what routers have for paths without a preference
)

// Weigh puts what is told of a weight into the attributes of a path. Paths with another MED or preference are not shared out: all traffic goes
// the way with the most weight. By the bandwidth, of which one Mbit/s stands for each unit of weight, it is shared out in proportion.
func Weigh(set fabric.PolicySet, w fabric.Weighting, weight int) fabric.PolicySet {
	value := func(n int) *uint32 {
		v := uint32(n)
		return &v
	}
	switch w {
	case fabric.WeightMED:
		set.MED = value(max(0, topMED-weight))
	case fabric.WeightLocalPref:
		set.LocalPref = value(baseLocalPref + weight)
	case fabric.WeightLinkBandwidth:
		set.LinkBandwidth = value(min(max(1, weight), fabric.MaxLinkBandwidth))
	}
	return set
}
