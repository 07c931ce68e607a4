package api

import (
	"context"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"

	"netfabric/fabric"
)

// ImageUpload is an image to import.
type ImageUpload struct {
	Filename   string
	Public     bool
	Properties map[string]string
	Aliases    []string
	Files      []fabric.ImageFile // one unified tarball, or "metadata" and "rootfs"; they are not closed
}

// UploadImage imports an image. The operation's metadata has its fingerprint.
func (c *Client) UploadImage(ctx context.Context, up ImageUpload) (*Operation, error) {
	header := http.Header{}
	header.Set("X-LXD-public", strconv.FormatBool(up.Public))
	if up.Filename != "" {
		header.Set("X-LXD-filename", up.Filename)
	}
	properties := url.Values{}
	for k, v := range up.Properties {
		properties.Set(k, v)
	}
	if len(properties) > 0 {
		header.Set("X-LXD-properties", properties.Encode())
	}
	if len(up.Aliases) > 0 {
		header.Set("X-LXD-aliases", url.Values{"alias": up.Aliases}.Encode())
	}
	if len(up.Files) == 1 {
		header.Set("Content-Type", "application/octet-stream")
		return c.send(ctx, http.MethodPost, "/1.0/images", io.NopCloser(up.Files[0].Body), header)
	}
	r, w := io.Pipe()
	defer r.Close()
	form := multipart.NewWriter(w)
	go func() { w.CloseWithError(writeParts(form, up.Files)) }()
	header.Set("Content-Type", form.FormDataContentType())
	return c.send(ctx, http.MethodPost, "/1.0/images", r, header)
}

func writeParts(form *multipart.Writer, files []fabric.ImageFile) error {
	for _, f := range files {
		part, err := form.CreateFormFile(f.Name, f.Name)
		if err != nil {
			return err
		}
		if _, err := io.Copy(part, f.Body); err != nil {
			return fmt.Errorf("read the %s of the image: %w", f.Name, err)
		}
	}
	return form.Close()
}

// ExportImage reads the files of an image one after the other: next gives the next file, which is valid until the following call, and io.EOF
// after the last. The caller calls close at the end.
func (c *Client) ExportImage(ctx context.Context, fingerprint string) (next func() (fabric.ImageFile, error), close func() error, err error) {
	resp, err := c.raw(ctx, "/1.0/images/"+seg(fingerprint)+"/export")
	if err != nil {
		return nil, nil, err
	}
	kind, params, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind == "multipart/form-data" {
		form := multipart.NewReader(resp.Body, params["boundary"])
		return func() (fabric.ImageFile, error) {
			part, err := form.NextPart()
			if err != nil {
				return fabric.ImageFile{}, err
			}
			return fabric.ImageFile{Name: part.FormName(), Size: -1, Body: part}, nil
		}, resp.Body.Close, nil
	}
	given := false
	return func() (fabric.ImageFile, error) {
		if given {
			return fabric.ImageFile{}, io.EOF
		}
		given = true
		_, disposition, _ := mime.ParseMediaType(resp.Header.Get("Content-Disposition"))
		return fabric.ImageFile{Name: disposition["filename"], Size: resp.ContentLength, Body: resp.Body}, nil
	}, resp.Body.Close, nil
}
