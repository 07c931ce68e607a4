package cluster

import (
	"crypto/tls"
	"testing"

	"netfabric/fabric"
)

// TestUpdateCertificate replaces the certificate that members show, while one of them is away.
func TestUpdateCertificate(t *testing.T) {
	members := startCluster(t, 3)
	ctx := t.Context()
	first, second, away := members[0], members[1], members[2]
	old := first.CertificatePEM()
	shows := func(m *member, certificate string) bool {
		c, err := dialTLS(ctx, m.Address(), clientConfig(nil, fabric.Fingerprint(certificate), protocolHTTP))
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	one, oneKey, err := newCertificate("one")
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey, err := newCertificate("other")
	if err != nil {
		t.Fatal(err)
	}
	own := second.current()
	for _, test := range []struct{ name, certificate, key string }{
		{"no key", one, ""},
		{"no certificate", "", oneKey},
		{"garbage", "certificate", "key"},
		{"another one's key", one, otherKey},
		{"a member's own", own.MemberCertificate, own.MemberKey},
	} {
		if err := second.UpdateCertificate(ctx, test.certificate, test.key); fabric.ReasonOf(err) != "bad-certificate" || !shows(second, old) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	away.kill()
	if _, err := first.AddToken(ctx, "n4"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "writes go on", func() bool { return second.UpdateCertificate(ctx, one, oneKey) == nil })
	if !shows(second, one) || shows(second, old) {
		t.Error("the member that was asked does not show it")
	}
	eventually(t, "the other one shows it", func() bool { return shows(first, one) && !shows(first, old) })
	if tokens := first.Snapshot().Tokens(); len(tokens) != 0 {
		t.Errorf("tokens that name the old one are still good: %v", tokens)
	}

	away = reopen(t, away)
	eventually(t, "the one that was away shows it", func() bool { return shows(away, one) })
	if err := first.UpdateCertificate(ctx, "", ""); err != nil {
		t.Fatal(err)
	}
	made := first.CertificatePEM()
	eventually(t, "all show the one that was made", func() bool { return shows(first, made) && shows(second, made) && shows(away, made) })
	if made == one || made == old {
		t.Error("none was made")
	}
	id, err := loadIdentity(away.dir)
	if err != nil || id.ClusterCertificate != made {
		t.Errorf("it is not kept: %v", err)
	} else if _, err := tls.X509KeyPair([]byte(id.ClusterCertificate), []byte(id.ClusterKey)); err != nil {
		t.Errorf("what is kept: %v", err)
	}

	token, err := second.AddToken(ctx, "n4")
	if err != nil {
		t.Fatal(err)
	}
	joiner := openMember(t, "n4", t.TempDir(), nil)
	t.Cleanup(func() { joiner.close(t) })
	if err := joiner.Join(ctx, token, freeAddress(t)); err != nil || joiner.CertificatePEM() != made {
		t.Errorf("join afterwards: %v", err)
	}
}
