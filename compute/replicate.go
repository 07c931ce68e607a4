package compute

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"netfabric/fabric"
)

// rank orders members for an image by rendezvous hashing: a member that comes or goes moves only its own copies.
func rank(fingerprint string, members []string) []string {
	score := func(member string) uint64 {
		sum := sha256.Sum256([]byte(member + "/" + fingerprint))
		return binary.BigEndian.Uint64(sum[:8])
	}
	return slices.SortedFunc(slices.Values(members), func(a, b string) int { return cmp.Or(cmp.Compare(score(b), score(a)), cmp.Compare(a, b)) })
}

// keepsCopy tells whether a member is one of those that keep a copy of an image, whoever needs it; replicas -1 is all of them.
func keepsCopy(fingerprint, member string, members []string, replicas int) bool {
	if replicas < 0 {
		return slices.Contains(members, member)
	}
	ranked := rank(fingerprint, members)
	return slices.Contains(ranked[:min(replicas, len(ranked))], member)
}

// sources lists the other members to ask for an image, best first: those that say they have it, then the one where it was imported.
func sources(v fabric.View, image *fabric.Image) []string {
	var present []string
	for _, c := range v.Reports.Of(fabric.KeyOf(image)) {
		if c.Type == fabric.ConditionPresent && c.OK && c.Member != v.Member {
			present = append(present, c.Member)
		}
	}
	// Each member begins with another source, so that they do not all ask the same one.
	list := rank(image.Name+"/"+v.Member, present)
	if image.Origin != v.Member && image.Origin != "" && !slices.Contains(list, image.Origin) {
		list = append(list, image.Origin)
	}
	return list
}

func memberNames(s *fabric.Snapshot) []string {
	var names []string
	for _, m := range s.Members() {
		names = append(names, m.Name)
	}
	return names
}
