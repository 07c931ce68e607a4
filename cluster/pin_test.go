package cluster

import (
	"context"
	"crypto/tls"
	"testing"
	"time"

	"github.com/canonical/go-dqlite/client"

	"netfabric/fabric"
)

// A member that was removed still has the key of the certificate that members show to clients. With it, it can't be a member to others where
// it gets hold of the address of one.
func TestRemovedMemberCannotPose(t *testing.T) {
	members := startCluster(t, 3)
	ctx := t.Context()
	asks, victim, gone := members[0], members[1], members[2]
	if err := asks.Remove(ctx, gone.Name(), true); err != nil {
		t.Fatal(err)
	}
	for _, protocol := range []string{protocolDatabase, protocolHTTP} {
		c, err := asks.dialAs(ctx, victim.Address(), protocol)
		if err != nil {
			t.Fatalf("the member itself, %s: %v", protocol, err)
		}
		c.Close()
	}
	asks.mu.Lock()
	m, _ := asks.peers.byAddress(victim.Address())
	own := &asks.proof.member
	asks.mu.Unlock()
	stolen := gone.current()
	for name, certificate := range map[string]*tls.Certificate{"its own certificate": &stolen.member, "the cluster's certificate": &stolen.cluster} {
		pose, err := listen(freeAddress(t), serverConfig(func(bool) *tls.Certificate { return certificate }), func(c *tls.Conn) { c.Close() }, newRESTListener())
		if err != nil {
			t.Fatal(err)
		}
		if c, err := dialTLS(ctx, pose.tcp.Addr().String(), memberConfig(own, m.Fingerprint, protocolHTTP)); err == nil {
			c.Close()
			t.Errorf("it passes for %s with %s", victim.Name(), name)
		}
		pose.close()
	}
}

// A host that was removed and joined again at its old address has another certificate. A member that was away meanwhile hears of it from the
// others, even though the host leads the database, which tells everybody else who is a member.
func TestReturningMemberLearnsOfAnotherCertificate(t *testing.T) {
	members := startCluster(t, 4)
	ctx := t.Context()
	away, stays, again := members[0], members[1], members[3]
	address := again.Address()
	away.kill()
	if err := stays.Remove(ctx, "n4", true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n4 knows that it was removed", func() bool { return again.Status().Removed })
	var token string
	eventually(t, "the others can write", func() bool {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		var err error
		token, err = stays.AddToken(short, "n4")
		return err == nil
	})
	if err := again.Join(ctx, token, address); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n4 votes and leads", func() bool {
		if again.Status().Leader == "n4" {
			return true
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		c, _, err := stays.leaderClient(short, stays.current(), stays.engine)
		if err != nil {
			return false
		}
		defer c.Close()
		return c.Assign(short, again.current().NodeID, client.Voter) == nil && c.Transfer(short, again.current().NodeID) == nil
	})
	back := openMember(t, "n1", away.dir, nil)
	t.Cleanup(func() { back.close(t) })
	members[0].Node = back.Node
	eventually(t, "n1 has heard of the new certificate", func() bool {
		m, ok := back.Snapshot().Member("n4")
		return ok && m.Fingerprint() == fabric.Fingerprint(again.current().MemberCertificate)
	})
}
