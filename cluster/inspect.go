package cluster

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/canonical/go-dqlite/client"

	"netfabric/fabric"
)

// Copy is a member's copy of the database, as found in its directory.
type Copy struct {
	Name, Address string      // of the member
	Lineage       string      // ids of the recoveries that led to this database, the last one last; empty: none
	Term, Index   uint64      // of the last entry: where both are highest is the newest copy, the term counting first; zero: there is none
	Nodes         []CopyNode  // who shares the database according to the copy
	Others        []CopyOther // the other members, as this one knows them
}

// CopyNode is a member that has the database.
type CopyNode struct {
	Name, Address string // no name: it is no member any more
	Role          string // "voter", "stand-by", "spare"
	ID            uint64
}

// CopyOther is another member.
type CopyOther struct{ Name, Address string }

// Inspect reads a member's directory. It changes nothing, and may be used while the member runs.
func Inspect(dir string) (*Copy, error) {
	m, err := loadMembership(dir)
	if err != nil {
		return nil, err
	}
	return m.copy(), nil
}

// membership is what a member's directory says.
type membership struct {
	id    identity
	known peers
	end   logEnd
}

func loadMembership(dir string) (*membership, error) {
	id, err := loadIdentity(dir)
	if err != nil {
		return nil, fabric.Errorf(fabric.CodeInternal, "bad-directory", "read the member's directory: %w", err)
	}
	if id == nil {
		return nil, fabric.Errorf(fabric.CodeInvalid, "not-in-cluster", "%s is of a host that is in no cluster", dir).WithFix("name the directory of a member with --dir")
	}
	m := &membership{id: *id}
	if err := readJSON(filepath.Join(dir, peersFile), &m.known); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fabric.Errorf(fabric.CodeInternal, "bad-directory", "read the member's directory: %w", err)
	}
	m.end, err = readLogEnd(filepath.Join(dir, id.Lineage.name()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fabric.Errorf(fabric.CodeInternal, "bad-directory", "%w", err)
	}
	return m, nil
}

func (m *membership) copy() *Copy {
	c := &Copy{Name: m.id.Name, Address: m.id.Address, Lineage: m.id.Lineage.String(), Term: m.end.Term, Index: m.end.Index}
	for _, node := range m.end.Nodes {
		p, _ := m.known.find(func(p peer) bool { return p.NodeID == node.ID })
		c.Nodes = append(c.Nodes, CopyNode{p.Name, node.Address, node.Role.String(), node.ID})
	}
	for _, p := range m.known.Members {
		if p.Name != m.id.Name {
			c.Others = append(c.Others, CopyOther{p.Name, p.Address})
		}
	}
	return c
}

// checkRecoverable says why the database can't be recovered from this copy; old allows one that is known not to be the newest.
func (m *membership) checkRecoverable(old bool) error {
	i := slices.IndexFunc(m.end.Nodes, func(n client.NodeInfo) bool { return n.ID == m.id.NodeID })
	const choose = "recover on a member that fabric-node cluster list-database shows as voter or stand-by"
	switch {
	case m.end.Index == 0:
		return fabric.Conflictf("no-copy", "member %q has no copy of the database", m.id.Name).WithFix("%s", choose)
	case i < 0 && !old:
		return fabric.Conflictf("not-a-node", "member %q is not among those that share the database, as far as its copy goes", m.id.Name).WithFix("%s; --accept-loss takes this one all the same", choose)
	case i >= 0 && m.end.Nodes[i].Role == client.Spare && !old:
		return fabric.Conflictf("spare", "member %q is a spare: its copy of the database is an old one", m.id.Name).WithFix("%s; --accept-loss takes this one all the same", choose)
	}
	if voters := votersOf(m.end.Nodes); len(voters) == 1 && voters[0].ID == m.id.NodeID {
		return fabric.Conflictf("has-quorum", "member %q decides alone already: there is nothing to recover", m.id.Name).WithFix("start it: systemctl start fabric-node")
	}
	return nil
}

// checkLost refuses where this member and the others that answer are enough to decide: between two leaders, none of them knows of one.
func (m *membership) checkLost(silent []string) error {
	voters := votersOf(m.end.Nodes)
	var there []string
	for _, n := range voters {
		p, known := m.known.find(func(p peer) bool { return p.NodeID == n.ID })
		if n.ID == m.id.NodeID {
			there = append(there, m.id.Name)
		} else if known && !slices.Contains(silent, p.Name) {
			there = append(there, p.Name)
		}
	}
	if 2*len(there) <= len(voters) {
		return nil
	}
	return fabric.Conflictf("has-quorum", "nothing is lost: %s are there, %d of %d voting members", strings.Join(there, ", "), len(there), len(voters)).
		WithFix("start fabric-node here: together they elect a leader")
}

func votersOf(nodes []client.NodeInfo) (voters []client.NodeInfo) {
	for _, n := range nodes {
		if n.Role == client.Voter {
			voters = append(voters, n)
		}
	}
	return voters
}
