package fabric

import (
	"cmp"
	"maps"
	"slices"
)

// Snapshot is every object of the cluster as of one revision. It never changes; successive snapshots share what did not change.
type Snapshot struct {
	Revision uint64
	Database string // the one that the revision is of: another one after a recovery from the loss of the quorum
	objects  map[Kind]map[string]Object
	claims   map[Claim]Key
}

// EmptySnapshot is the state before the first write.
func EmptySnapshot() *Snapshot {
	return &Snapshot{objects: map[Kind]map[string]Object{}, claims: map[Claim]Key{}}
}

// Advance applies rows of later revisions, tombstones included, and gives the snapshot of the new revision. It checks nothing: what is in the
// database was checked when it was written.
func (s *Snapshot) Advance(revision uint64, rows []Row) (*Snapshot, error) {
	tx := NewTx(s)
	for _, r := range rows {
		if r.Deleted {
			tx.set(Key{r.Kind, r.Name}, nil)
			continue
		}
		o, err := Decode(r)
		if err != nil {
			return nil, err
		}
		tx.set(KeyOf(o), o)
	}
	tx.next.Revision = revision
	return tx.next, nil
}

// Expelled is what is left for a member to do that the others have removed: nothing is announced, no gateway is
// shared, and none of its instances runs. These belong
// to no member then, so that their disks stay until somebody decides about them: their addresses may be another's by now.
func (s *Snapshot) Expelled(member string) *Snapshot {
	tx := NewTx(s)
	for _, p := range s.Peers() {
		tx.set(KeyOf(p), nil)
	}
	for _, g := range s.Gateways() {
		tx.set(KeyOf(g), nil)
	}
	for _, i := range s.Instances() {
		if i.Member == member {
			lost := Clone(i)
			lost.Member, lost.Power = "", PowerStopped
			tx.set(KeyOf(lost), lost)
		}
	}
	// It is not what the database had at that revision: should the member come back, everything is read again.
	tx.next.Revision = min(1, s.Revision)
	return tx.next
}

// Rows is the stored form of everything, for the disk.
func (s *Snapshot) Rows() ([]Row, error) {
	var rows []Row
	for _, k := range Kinds() {
		for _, o := range s.All(k) {
			r, err := Encode(o)
			if err != nil {
				return nil, err
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// Get finds an object.
func (s *Snapshot) Get(k Key) (Object, bool) {
	o, ok := s.objects[k.Kind][k.Name]
	return o, ok
}

// All lists the objects of a kind by name.
func (s *Snapshot) All(k Kind) []Object {
	return slices.SortedFunc(maps.Values(s.objects[k]), func(a, b Object) int { return cmp.Compare(a.Head().Name, b.Head().Name) })
}

// Len is the number of objects of a kind.
func (s *Snapshot) Len(k Kind) int { return len(s.objects[k]) }

// Holder is the object that has a claim.
func (s *Snapshot) Holder(c Claim) (Key, bool) {
	k, ok := s.claims[c]
	return k, ok
}

// Cluster is the cluster object; its defaults where there is none yet.
func (s *Snapshot) Cluster() *Cluster {
	if c, ok := get[*Cluster](s, KindCluster, ClusterName); ok {
		return c
	}
	return &Cluster{Header: Header{Name: ClusterName}}
}

// Member finds a member by name. The accessors below do the same for their kinds; plural ones list by name.
func (s *Snapshot) Member(name string) (*Member, bool) { return get[*Member](s, KindMember, name) }

// Members lists the members.
func (s *Snapshot) Members() []*Member { return all[*Member](s, KindMember) }

// RPKI finds an RPKI cache.
func (s *Snapshot) RPKI(name string) (*RPKI, bool) { return get[*RPKI](s, KindRPKI, name) }

// RPKIs lists the RPKI caches.
func (s *Snapshot) RPKIs() []*RPKI { return all[*RPKI](s, KindRPKI) }

// Group finds a group of members; DefaultGroup is always there.
func (s *Snapshot) Group(name string) (*Group, bool) {
	if name == DefaultGroup {
		return &Group{Header: Header{Name: DefaultGroup}, Description: "Members that are in no other group"}, true
	}
	return get[*Group](s, KindGroup, name)
}

// Groups lists the groups of members, DefaultGroup first.
func (s *Snapshot) Groups() []*Group {
	first, _ := s.Group(DefaultGroup)
	return append([]*Group{first}, all[*Group](s, KindGroup)...)
}

// Certificate finds a client certificate by fingerprint.
func (s *Snapshot) Certificate(name string) (*Certificate, bool) {
	return get[*Certificate](s, KindCertificate, name)
}

// Certificates lists the client certificates.
func (s *Snapshot) Certificates() []*Certificate { return all[*Certificate](s, KindCertificate) }

// Tokens lists the tokens.
func (s *Snapshot) Tokens() []*Token { return all[*Token](s, KindToken) }

// Network finds a network.
func (s *Snapshot) Network(name string) (*Network, bool) { return get[*Network](s, KindNetwork, name) }

// Networks lists the networks.
func (s *Snapshot) Networks() []*Network { return all[*Network](s, KindNetwork) }

// Pool finds a storage pool.
func (s *Snapshot) Pool(name string) (*Pool, bool) { return get[*Pool](s, KindPool, name) }

// Pools lists the storage pools.
func (s *Snapshot) Pools() []*Pool { return all[*Pool](s, KindPool) }

// Image finds an image by fingerprint.
func (s *Snapshot) Image(name string) (*Image, bool) { return get[*Image](s, KindImage, name) }

// Images lists the images.
func (s *Snapshot) Images() []*Image { return all[*Image](s, KindImage) }

// Alias finds an image alias.
func (s *Snapshot) Alias(name string) (*Alias, bool) { return get[*Alias](s, KindAlias, name) }

// Aliases lists the image aliases.
func (s *Snapshot) Aliases() []*Alias { return all[*Alias](s, KindAlias) }

// Profile finds a profile.
func (s *Snapshot) Profile(name string) (*Profile, bool) { return get[*Profile](s, KindProfile, name) }

// Profiles lists the profiles.
func (s *Snapshot) Profiles() []*Profile { return all[*Profile](s, KindProfile) }

// Instance finds an instance.
func (s *Snapshot) Instance(name string) (*Instance, bool) {
	return get[*Instance](s, KindInstance, name)
}

// Instances lists the instances.
func (s *Snapshot) Instances() []*Instance { return all[*Instance](s, KindInstance) }

// Peer finds a BGP peer.
func (s *Snapshot) Peer(name string) (*Peer, bool) { return get[*Peer](s, KindPeer, name) }

// Peers lists the BGP peers.
func (s *Snapshot) Peers() []*Peer { return all[*Peer](s, KindPeer) }

// Anycast finds an anycast service.
func (s *Snapshot) Anycast(name string) (*Anycast, bool) { return get[*Anycast](s, KindAnycast, name) }

// Anycasts lists the anycast services.
func (s *Snapshot) Anycasts() []*Anycast { return all[*Anycast](s, KindAnycast) }

// Policy finds a BGP policy, or a built-in one.
func (s *Snapshot) Policy(name string) (*Policy, bool) {
	if p, ok := get[*Policy](s, KindPolicy, name); ok {
		return p, true
	}
	return builtinPolicy(name)
}

// Policies lists the BGP policies, without the built-in ones.
func (s *Snapshot) Policies() []*Policy { return all[*Policy](s, KindPolicy) }

// BFDProfile finds a BFD profile.
func (s *Snapshot) BFDProfile(name string) (*BFDProfile, bool) {
	return get[*BFDProfile](s, KindBFDProfile, name)
}

// BFDProfiles lists the BFD profiles.
func (s *Snapshot) BFDProfiles() []*BFDProfile { return all[*BFDProfile](s, KindBFDProfile) }

// Gateway finds a gateway.
func (s *Snapshot) Gateway(name string) (*Gateway, bool) { return get[*Gateway](s, KindGateway, name) }

// Gateways lists the gateways.
func (s *Snapshot) Gateways() []*Gateway { return all[*Gateway](s, KindGateway) }

func get[T Object](s *Snapshot, kind Kind, name string) (T, bool) {
	o, ok := s.objects[kind][name].(T)
	return o, ok
}

func all[T Object](s *Snapshot, kind Kind) []T {
	list := make([]T, 0, len(s.objects[kind]))
	for _, o := range s.objects[kind] {
		list = append(list, o.(T))
	}
	slices.SortFunc(list, func(a, b T) int { return cmp.Compare(a.Head().Name, b.Head().Name) })
	return list
}
