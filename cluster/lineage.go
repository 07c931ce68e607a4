package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
)

// lineage tells databases of one cluster apart: each recovery from the loss of the quorum makes a new one, and adds its id to those of the databases
// that it descends from. It is empty for the one that the cluster began with.
//
// Members of an older database may come back after a recovery, with a log that says that they decide. So no node of one database is ever connected
// with one of another; the lineage shows which of two members has to give its own up.
type lineage []string

// next is the lineage of a database that is recovered from this one.
func (l lineage) next() lineage {
	b := make([]byte, 4)
	rand.Read(b)
	return append(slices.Clone(l), hex.EncodeToString(b))
}

// descends tells whether the database was recovered from the other one, in one or more steps.
func (l lineage) descends(other lineage) bool {
	return len(l) > len(other) && slices.Equal(l[:len(other)], other)
}

// name is that of the directory of the database.
func (l lineage) name() string {
	if len(l) == 0 {
		return databaseDir
	}
	return databaseDir + "-" + l[len(l)-1]
}

// protocol is that of connections between nodes of the database: no other node speaks it.
func (l lineage) protocol() string {
	if len(l) == 0 {
		return protocolDatabase
	}
	return protocolDatabase + "-" + l[len(l)-1]
}

// String is the lineage as members tell it each other.
func (l lineage) String() string { return strings.Join(l, ",") }

var lineageForm = regexp.MustCompile(`^[0-9a-f]{8}(,[0-9a-f]{8})*$`)

// parseLineage reads what another member says. A word that is none is from no member and says nothing.
func parseLineage(s string) (l lineage, ok bool) {
	if s == "" {
		return nil, true
	}
	if !lineageForm.MatchString(s) {
		return nil, false
	}
	return strings.Split(s, ","), true
}
