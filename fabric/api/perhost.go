package api

import (
	"maps"

	"netfabric/fabric"
)

// Networks and storage pools have keys that are the same everywhere, and keys of single members. In the dialect the latter are read and
// written with ?target=; a new object is first noted member by member, then created.

// splitConfig splits the keys of a config by scope.
func splitConfig(keys fabric.KeyTable, c fabric.Config) (global, member fabric.Config) {
	global, member = fabric.Config{}, fabric.Config{}
	for k, v := range c {
		if key, ok := keys.Lookup(k); ok && key.Scope == fabric.ScopeMember {
			member[k] = v
		} else {
			global[k] = v
		}
	}
	return global, member
}

// forMember takes a member's own config from what was written with a target. Keys that are the same everywhere may be repeated, not changed.
func forMember(what string, keys fabric.KeyTable, now, wanted fabric.Config) (fabric.Config, error) {
	global, member := splitConfig(keys, wanted)
	for k, v := range global {
		if now[k] != v {
			return nil, fabric.Invalidf("not-member-specific", "%s: config key %q is the same on all members", what, k).WithFix("set it without a target")
		}
	}
	return member, nil
}

// forAll takes the common config from what was written without a target. In a cluster of one member its own keys may be given too.
func forAll(what string, keys fabric.KeyTable, snap *fabric.Snapshot, perMember map[string]fabric.Config, wanted fabric.Config) (fabric.Config, map[string]fabric.Config, error) {
	global, member := splitConfig(keys, wanted)
	if len(member) == 0 {
		return global, perMember, nil
	}
	members := snap.Members()
	if len(members) != 1 {
		for k := range member {
			return nil, nil, fabric.Invalidf("member-specific", "%s: config key %q has a value for each member", what, k).
				WithFix("set it with a target, once for each member")
		}
	}
	perMember = maps.Clone(perMember)
	if perMember == nil {
		perMember = map[string]fabric.Config{}
	}
	perMember[members[0].Name] = member
	return global, perMember, nil
}

// definePending notes the own config of a member for an object that is created later.
func definePending(what string, perMember map[string]fabric.Config, target string, c fabric.Config) (map[string]fabric.Config, error) {
	if _, there := perMember[target]; there {
		return nil, fabric.Conflictf("exists", "%s is defined for member %q already", what, target)
	}
	perMember = maps.Clone(perMember)
	if perMember == nil {
		perMember = map[string]fabric.Config{}
	}
	perMember[target] = c
	return perMember, nil
}

// memberNames are the members' names.
func memberNames(snap *fabric.Snapshot) []string {
	names := []string{}
	for _, m := range snap.Members() {
		names = append(names, m.Name)
	}
	return names
}

// readiness is how an object that every member makes for itself is, in the words of the dialect: on one member, or (empty) as a whole.
func readiness(reports *fabric.Reports, key fabric.Key, pending bool, member string) (status, message string) {
	if pending {
		return "Pending", ""
	}
	status = "Created"
	for _, c := range reports.Of(key) {
		if c.Type == fabric.ConditionReady && !c.OK && (member == "" || c.Member == member) {
			return "Errored", c.Member + ": " + c.Message
		}
	}
	return status, ""
}
