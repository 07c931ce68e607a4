package cluster

import (
	"context"
	"crypto/tls"
	"path/filepath"
	"time"

	"netfabric/fabric"
)

// UpdateCertificate replaces the certificate that all members show to clients; with neither certificate nor key a new one is made. Open tokens name
// the old one and go with it. It returns once this member shows the new one; the others do as soon as they hear of it.
func (n *Node) UpdateCertificate(ctx context.Context, certificate, key string) error {
	p := n.current()
	if p == nil {
		return errNotInCluster
	}
	if certificate == "" && key == "" {
		at, err := parseAddress(p.Address)
		if err == nil {
			certificate, key, err = newCertificate("cluster", at.Addr())
		}
		if err != nil {
			return err
		}
	}
	if err := checkPair(certificate, key); err != nil {
		return err
	}
	_, err := n.Apply(ctx, func(tx *fabric.Tx) error {
		s := tx.Snapshot()
		for _, m := range s.Members() {
			if m.Fingerprint() == fabric.Fingerprint(certificate) {
				return fabric.Invalidf("bad-certificate", "the certificate is that of member %q alone", m.Name).WithFix("give another one, or none to have one made")
			}
		}
		for _, t := range s.Tokens() {
			if err := tx.Delete(fabric.KeyOf(t)); err != nil {
				return err
			}
		}
		next := fabric.Clone(s.Cluster())
		next.Certificate, next.Key = certificate, key
		return tx.Put(next)
	})
	if err != nil {
		return err
	}
	return n.awaitCertificate(ctx, certificate)
}

// checkPair refuses what no server could show.
func checkPair(certificate, key string) error {
	const fix = "give both in PEM form, or neither to have one made"
	if certificate == "" || key == "" {
		return fabric.Invalidf("bad-certificate", "a certificate without a key, or a key without a certificate").WithFix(fix)
	}
	if _, err := tls.X509KeyPair([]byte(certificate), []byte(key)); err != nil {
		return fabric.Invalidf("bad-certificate", "the certificate and the key: %w", err).WithFix(fix)
	}
	return nil
}

// awaitCertificate waits until this member shows a certificate.
func (n *Node) awaitCertificate(ctx context.Context, certificate string) error {
	ctx, cancel := context.WithTimeout(ctx, defaultPatience)
	defer cancel()
	const look = 10 * time.Millisecond
	for n.CertificatePEM() != certificate {
		wake(n.kick)
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return fabric.Errorf(fabric.CodeUnavailable, "certificate-pending", "the cluster has the new certificate, but this member does not show it yet: %w", context.Cause(ctx)).
				WithFix("it goes on trying; its log says what is in the way")
		}
	}
	return nil
}

// adoptCertificate shows the certificate that the cluster has, on disk first.
func (m *monitor) adoptCertificate() {
	s := m.Snapshot()
	if s.Revision == 0 || !m.change.TryLock() { // held by who changes the identity as well
		return
	}
	defer m.change.Unlock()
	c := s.Cluster()
	m.mu.Lock()
	p, settled := m.proof, m.engine != nil // before that a recovered database may still be taken over, with another identity
	m.mu.Unlock()
	if c.Certificate == "" || p == nil || !settled || c.Certificate == p.ClusterCertificate || s.Database != p.Lineage.String() {
		return
	}
	id := p.identity
	id.ClusterCertificate, id.ClusterKey = c.Certificate, c.Key
	next, err := newProof(id)
	if err == nil {
		err = writeJSON(filepath.Join(m.dir, identityFile), id)
	}
	if err != nil {
		m.log.Error("the cluster's new certificate is not shown yet", "error", err)
		return
	}
	m.mu.Lock()
	m.proof = next
	m.mu.Unlock()
	m.log.Info("the cluster's certificate was replaced", "fingerprint", next.fingerprint)
}
