package api

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"strings"
	"time"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// CertificatesPost adds a certificate, or (Token) asks for a token with which a client adds its own. An untrusted client puts the token into
// Password (LXD) or TrustToken (Incus), and leaves out the certificate: it is the one it made the connection with.
type CertificatesPost struct {
	incusapi.CertificatesPost
	Password string `json:"password"`
}

// GetCertificates lists the clients that may use the API.
func (c *Client) GetCertificates(ctx context.Context) ([]incusapi.Certificate, error) {
	return list[incusapi.Certificate](ctx, c, "/1.0/certificates")
}

// GetCertificate finds a client by fingerprint, or by the beginning of one.
func (c *Client) GetCertificate(ctx context.Context, fingerprint string) (*incusapi.Certificate, string, error) {
	return one[incusapi.Certificate](ctx, c, "/1.0/certificates/"+seg(fingerprint))
}

// AddCertificate makes a client trusted.
func (c *Client) AddCertificate(ctx context.Context, post CertificatesPost) error {
	_, err := c.Send(ctx, http.MethodPost, "/1.0/certificates", post, "")
	return err
}

// AddClientToken makes a token with which one client can make itself trusted.
func (c *Client) AddClientToken(ctx context.Context, name string) (*incusapi.CertificateAddToken, error) {
	post := CertificatesPost{CertificatesPost: incusapi.CertificatesPost{
		CertificatePut: incusapi.CertificatePut{Name: name, Type: incusapi.CertificateTypeClient}, Token: true,
	}}
	op, err := c.Send(ctx, http.MethodPost, "/1.0/certificates", post, "")
	if err != nil {
		return nil, err
	}
	return op.ToCertificateAddToken()
}

// UseClientToken makes the certificate of this client's connection trusted. token is as AddClientToken gave it, in its String form.
func (c *Client) UseClientToken(ctx context.Context, name, token string) error {
	return c.AddCertificate(ctx, CertificatesPost{
		CertificatesPost: incusapi.CertificatesPost{CertificatePut: incusapi.CertificatePut{Name: name, Type: incusapi.CertificateTypeClient}},
		Password:         token,
	})
}

// UpdateCertificate replaces name and description of a client.
func (c *Client) UpdateCertificate(ctx context.Context, fingerprint string, put incusapi.CertificatePut, etag string) error {
	_, err := c.Send(ctx, http.MethodPut, "/1.0/certificates/"+seg(fingerprint), put, etag)
	return err
}

// DeleteCertificate ends the trust in a client.
func (c *Client) DeleteCertificate(ctx context.Context, fingerprint string) error {
	_, err := c.Send(ctx, http.MethodDelete, "/1.0/certificates/"+seg(fingerprint), nil, "")
	return err
}

func (s *Server) getCertificates(r *request) (reply, error) {
	return r.list(items("/1.0/certificates/", r.snap.Certificates(), objectName, func(c *fabric.Certificate) any { return showCertificate(c) }))
}

func showCertificate(c *fabric.Certificate) incusapi.Certificate {
	return incusapi.Certificate{CertificatePut: certificatePut(c), Fingerprint: c.Name}
}

func certificatePut(c *fabric.Certificate) incusapi.CertificatePut {
	return incusapi.CertificatePut{
		Name: c.Label, Description: c.Description, Type: incusapi.CertificateTypeClient, Certificate: c.PEM, Projects: []string{},
	}
}

// findCertificate finds a certificate by the beginning of its fingerprint.
func findCertificate(snap *fabric.Snapshot, prefix string) (*fabric.Certificate, error) {
	return byPrefix("certificate", snap.Certificates(), prefix)
}

// byPrefix finds the one object whose name, a fingerprint, begins as given.
func byPrefix[T fabric.Object](what string, all []T, prefix string) (T, error) {
	var found, none T
	n := 0
	for _, o := range all {
		switch name := o.Head().Name; {
		case name == prefix:
			return o, nil
		case prefix != "" && strings.HasPrefix(name, prefix):
			found = o
			n++
		}
	}
	switch n {
	case 0:
		return none, fabric.NotFoundf("%s %q does not exist", what, prefix)
	case 1:
		return found, nil
	}
	return none, fabric.Invalidf("ambiguous", "%s %q: %d fingerprints begin like this", what, prefix, n).WithFix("give more of the fingerprint")
}

func (s *Server) getCertificate(r *request) (reply, error) {
	c, err := findCertificate(r.snap, r.PathValue("fingerprint"))
	if err != nil {
		return reply{}, err
	}
	return reply{metadata: showCertificate(c), etag: etagOf(c)}, nil
}

func (s *Server) postCertificates(r *request) (reply, error) {
	var post CertificatesPost
	if err := r.decode(&post); err != nil {
		return reply{}, err
	}
	if !r.status.Bootstrapped {
		return reply{}, errNotInCluster
	}
	if err := clientsOnly(post.CertificatePut); err != nil {
		return reply{}, err
	}
	if !r.trusted {
		return s.useToken(r, cmp.Or(post.Password, post.TrustToken))
	}
	if post.Token {
		if err := fabric.CheckName("client", post.Name); err != nil {
			return reply{}, err
		}
		return s.addToken(r, post.Name, s.Cluster.AddClientToken)
	}
	text := post.Certificate
	if text == "" {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			return reply{}, fabric.Invalidf("bad-certificate", "no certificate is given")
		}
		text = certificatePEM(r.TLS.PeerCertificates[0].Raw)
	} else if der, err := base64.StdEncoding.DecodeString(text); err == nil {
		text = certificatePEM(der) // as LXD's clients send it
	}
	c := &fabric.Certificate{PEM: text, Label: post.Name, Description: post.Description}
	if c.Name = fabric.Fingerprint(text); c.Name == "" || !isCertificate(text) {
		return reply{}, fabric.Invalidf("bad-certificate", "what is given is not a certificate in PEM or base64")
	}
	_, err := create(s, r, c, nil)
	return createdAt("/1.0/certificates/"+c.Name, err)
}

// clientsOnly refuses what certificates can't be here.
func clientsOnly(put incusapi.CertificatePut) error {
	if put.Type != "" && put.Type != incusapi.CertificateTypeClient {
		return fabric.Errorf(fabric.CodeNotSupported, "certificate-type", "certificates of type %q are not supported", put.Type).WithFix("use type client")
	}
	if put.Restricted || len(put.Projects) > 0 {
		return fabric.Errorf(fabric.CodeNotSupported, "restricted", "certificates can't be restricted to projects")
	}
	return nil
}

func certificatePEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func isCertificate(text string) bool {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return false
	}
	_, err := x509.ParseCertificate(block.Bytes)
	return err == nil
}

// useToken trusts the certificate of the connection for a token. The token is gone in the transaction in which the certificate comes.
func (s *Server) useToken(r *request, token string) (reply, error) {
	if token == "" {
		return reply{}, fabric.Errorf(fabric.CodeForbidden, "not-trusted", "the client is not trusted here, and gives no token").
			WithFix("get one with fabricctl config trust add on a member")
	}
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return reply{}, fabric.Invalidf("no-certificate", "the client shows no certificate that could be trusted")
	}
	if text, ok := parseToken(token); ok {
		token = text.Secret
	}
	cert := certificatePEM(r.TLS.PeerCertificates[0].Raw)
	name := connFingerprint(*r.TLS)
	_, err := s.Store.Apply(r.Context(), func(tx *fabric.Tx) error {
		t, err := fabric.ConsumeToken(tx, fabric.TokenClient, token, time.Now())
		if err != nil {
			return err
		}
		return tx.Put(&fabric.Certificate{Header: fabric.Header{Name: name}, PEM: cert, Label: t.For})
	})
	return createdAt("/1.0/certificates/"+name, err)
}

func (s *Server) putCertificate(r *request) (reply, error) {
	c, err := r.change(incusapi.CertificatePut{})
	if err != nil {
		return reply{}, err
	}
	found, err := findCertificate(r.snap, r.PathValue("fingerprint"))
	if err != nil {
		return reply{}, err
	}
	_, err = edit(s, r, fabric.KeyOf(found), func(_ *fabric.Tx, cert *fabric.Certificate) error {
		put := certificatePut(cert)
		if err := c.onto(&put); err != nil {
			return err
		}
		if err := clientsOnly(put); err != nil {
			return err
		}
		if err := readOnly("certificate "+cert.Name[:12], "certificate", cert.PEM, put.Certificate); err != nil {
			return err
		}
		cert.Label, cert.Description = put.Name, put.Description
		return nil
	})
	return done(err)
}

func (s *Server) deleteCertificate(r *request) (reply, error) {
	c, err := findCertificate(r.snap, r.PathValue("fingerprint"))
	if err != nil {
		return reply{}, err
	}
	return done(remove(s, r, fabric.KeyOf(c)))
}
