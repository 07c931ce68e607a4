package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"time"
)

// Protocols that a TLS client can ask for by ALPN (RFC 7301). That of a database that was recovered has its id in it, see lineage.
const (
	protocolDatabase = "fabric-dqlite"
	protocolHTTP     = "http/1.1"
)

// newCertificate makes a self-signed certificate and its key, both PEM. Nobody checks its dates or names: who trusts it knows its
// fingerprint, so that neither a wrong clock nor a new address locks members out.
func newCertificate(name string, addresses ...netip.Addr) (certificate, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return "", "", err
	}
	const years = 50
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"netfabric"}, CommonName: name},
		NotBefore:             time.Now().AddDate(0, 0, -1),
		NotAfter:              time.Now().AddDate(years, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{name, "localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	for _, a := range addresses {
		template.IPAddresses = append(template.IPAddresses, a.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return "", "", err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), nil
}

// peerFingerprint is that of the certificate the other side proved itself with, empty if it has none.
func peerFingerprint(state *tls.ConnectionState) string {
	if state == nil || len(state.PeerCertificates) == 0 {
		return ""
	}
	sum := sha256.Sum256(state.PeerCertificates[0].Raw)
	return hex.EncodeToString(sum[:])
}

// memberServerName is the server name (RFC 6066, 3) by which members ask each other for the certificate that only one of them has. Everybody
// else is shown the cluster's, whose key a member that was removed still has. No host has the name (RFC 2606, 2).
const memberServerName = "member.invalid"

// serverConfig is how the port of a member answers: it asks for the client's certificate, but leaves it to others to judge it. certificate gives
// the member's own certificate, or the cluster's; database is the protocol of the database that the member has now.
func serverConfig(certificate func(own bool) *tls.Certificate, database func() string) *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return certificate(hello.ServerName == memberServerName), nil
		},
		ClientAuth: tls.RequestClientCert,
	}
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := config.Clone()
		c.NextProtos = []string{database(), protocolHTTP} // not h2: the API's websockets need HTTP/1.1
		return c, nil
	}
	return config
}

// clientConfig is how a server is asked that shows the certificate of a cluster, or of a host that joins. It accepts the server only if its certificate has the fingerprint.
func clientConfig(own *tls.Certificate, fingerprint, protocol string) *tls.Config {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // the chain: VerifyConnection pins the certificate instead
		NextProtos:         []string{protocol},
		VerifyConnection: func(state tls.ConnectionState) error {
			if got := peerFingerprint(&state); got != fingerprint {
				return fmt.Errorf("it is not the expected server: its certificate is %.12s, not %.12s", got, fingerprint)
			}
			return nil
		},
	}
	if own != nil {
		c.Certificates = []tls.Certificate{*own}
	}
	return c
}

// memberConfig is how a member asks one whose own certificate it knows.
func memberConfig(own *tls.Certificate, fingerprint, protocol string) *tls.Config {
	c := clientConfig(own, fingerprint, protocol)
	c.ServerName = memberServerName
	return c
}

// dialTLS connects and shakes hands, both within ctx.
func dialTLS(ctx context.Context, address string, config *tls.Config) (*tls.Conn, error) {
	dialer := net.Dialer{KeepAliveConfig: keepAlive}
	dialer.Control = userTimeout
	raw, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}
