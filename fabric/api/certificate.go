package api

import (
	"context"
	"net/http"

	incusapi "github.com/lxc/incus/v6/shared/api"
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
