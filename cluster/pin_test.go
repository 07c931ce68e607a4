package cluster

import (
	"crypto/tls"
	"testing"

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
		pose, err := listen(freeAddress(t), serverConfig(func(bool) *tls.Certificate { return certificate }, func() string { return protocolDatabase }), func(c *tls.Conn) { c.Close() }, newRESTListener())
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

// A host that was removed and joined again at its old address has another certificate. A member that was away meanwhile can't ask it for the
// database, which tells everybody else who is a member: it hears of the certificate from any other member.
func TestReturningMemberLearnsOfAnotherCertificate(t *testing.T) {
	members := startCluster(t, 3)
	back, other, again := members[0], members[1], members[2]
	eventually(t, "all know all", func() bool {
		return back.ping(t.Context(), other.Address()) == nil && other.ping(t.Context(), again.Address()) == nil
	})
	now := peersOf(back.Snapshot())
	stale := peers{Revision: 1}
	for _, p := range now.Members {
		if p.Name == again.Name() {
			p.Fingerprint = fabric.Fingerprint(back.CertificatePEM()) // some other
		}
		stale.Members = append(stale.Members, p)
	}
	back.mu.Lock()
	back.peers = stale
	back.mu.Unlock()
	if c, err := back.dialAs(t.Context(), again.Address(), protocolHTTP); err == nil {
		c.Close()
		t.Error("another certificate than the one that is known is taken")
	}
	if err := back.ping(t.Context(), other.Address()); err != nil {
		t.Fatal(err)
	}
	c, err := back.dialAs(t.Context(), again.Address(), protocolHTTP)
	if err != nil {
		t.Fatalf("after the other has told: %v", err)
	}
	c.Close()
}
