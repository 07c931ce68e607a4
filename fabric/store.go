package fabric

import (
	"context"
	"time"
)

// Store is the replicated database as the rest of the program sees it. Reads come from memory and go on without quorum.
type Store interface {
	// Apply runs change in a write transaction against the newest state and makes it durable. It returns the revision after it, once this
	// store's own Snapshot has it. The change is applied once or not at all, however often it is run. An error of change is returned as it
	// is and nothing is written; CodeUnavailable means that the database has no quorum or the context ended: then, and only when the reason
	// is "outcome-unknown", the change may have been applied.
	Apply(ctx context.Context, change func(*Tx) error) (uint64, error)
	// Snapshot is the newest desired state known here. It is never nil.
	Snapshot() *Snapshot
	// Report makes the conditions stored for a member the given ones. It writes only what differs.
	Report(ctx context.Context, member string, all []Condition) error
	// Reports is what all members say, as far as known here. It is never nil.
	Reports() *Reports
	// Subscribe returns a channel that is signalled after every change of Snapshot or Reports, and a function that ends it. Signals merge.
	Subscribe() (<-chan struct{}, func())
}

// ClusterStatus is what a member knows of the cluster as a whole.
type ClusterStatus struct {
	Bootstrapped bool // false: not in a cluster yet
	Removed      bool // the other members no longer take this one for a member: it may join again
	Self         string
	Leader       string // member that leads the database; empty: none is known
	Quorum       bool   // writes can be made
	Message      string // why not
	Members      []MemberStatus
}

// MemberStatus is how a member is as another one sees it.
type MemberStatus struct {
	Name     string
	Address  string
	Role     string // of the database: "voter", "stand-by", "spare"
	Leader   bool
	Online   bool
	LastSeen time.Duration // since its last sign of life
	Message  string        // for people
}
