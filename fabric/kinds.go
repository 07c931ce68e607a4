package fabric

import "slices"

// kindInfo describes a kind: where to add one.
type kindInfo struct {
	kind Kind
	new  func() Object
}

// kinds lists every kind once, in the order in which a reader meets them.
var kinds = []kindInfo{
	{KindCluster, func() Object { return new(Cluster) }},
	{KindMember, func() Object { return new(Member) }},
	{KindGroup, func() Object { return new(Group) }},
	{KindCertificate, func() Object { return new(Certificate) }},
	{KindToken, func() Object { return new(Token) }},
	{KindNetwork, func() Object { return new(Network) }},
	{KindPool, func() Object { return new(Pool) }},
	{KindImage, func() Object { return new(Image) }},
	{KindAlias, func() Object { return new(Alias) }},
	{KindProfile, func() Object { return new(Profile) }},
	{KindInstance, func() Object { return new(Instance) }},
	{KindBFDProfile, func() Object { return new(BFDProfile) }},
	{KindPeer, func() Object { return new(Peer) }},
	{KindAnycast, func() Object { return new(Anycast) }},
	{KindPolicy, func() Object { return new(Policy) }},
	{KindRPKI, func() Object { return new(RPKI) }},
	{KindGateway, func() Object { return new(Gateway) }},
}

// Kinds lists all kinds.
func Kinds() []Kind {
	var all []Kind
	for _, k := range kinds {
		all = append(all, k.kind)
	}
	return all
}

func newObject(kind Kind) Object {
	if i := slices.IndexFunc(kinds, func(k kindInfo) bool { return k.kind == kind }); i >= 0 {
		return kinds[i].new()
	}
	return nil
}
