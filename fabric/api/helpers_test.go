package api

import (
	"testing"
	"time"

	"netfabric/fabric"
)

var farFuture = time.Now().Add(24 * time.Hour)

// tlsClient is a client with a certificate of its own.
func (m *member) tlsClient(t *testing.T, name string) *Client {
	t.Helper()
	cert, _ := newCertificate(t, name, farFuture)
	return NewTLSClient(m.https.Listener.Addr().String(), &cert, fabric.Fingerprint(m.pem))
}
