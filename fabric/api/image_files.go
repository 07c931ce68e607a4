package api

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

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

func (s *Server) postImages(r *request) (reply, error) {
	kind, params, err := mime.ParseMediaType(cmp.Or(r.Header.Get("Content-Type"), "application/octet-stream"))
	if err != nil {
		return reply{}, fabric.Invalidf("bad-content-type", "import an image: content type %q is none", r.Header.Get("Content-Type"))
	}
	var files []fabric.ImageFile
	switch kind {
	case "application/octet-stream":
		files = []fabric.ImageFile{{Name: "unified", Size: r.ContentLength, Body: r.Body}}
	case "multipart/form-data":
		form := multipart.NewReader(r.Body, params["boundary"])
		files = []fabric.ImageFile{
			{Name: "metadata", Size: -1, Body: &formFile{form: form, name: "metadata"}},
			{Name: "rootfs", Size: -1, Body: &formFile{form: form, name: "rootfs"}},
		}
	default:
		return reply{}, fabric.Errorf(fabric.CodeNotSupported, "image-source", "import an image: only uploads of files are supported, not content of type %s", kind).
			WithFix("send a tarball as application/octet-stream, or metadata and rootfs as multipart/form-data")
	}
	meta, err := readImageHeaders(r.Header)
	if err != nil {
		return reply{}, err
	}
	image, err := s.Images.Import(r.Context(), files)
	if err != nil {
		return reply{}, err
	}
	if meta.fingerprint != "" && meta.fingerprint != image.Name {
		return reply{}, fabric.Invalidf("fingerprint-mismatch", "import an image: what came has fingerprint %s, not %s as announced", image.Name, meta.fingerprint)
	}
	meta.apply(image)
	image.Origin = cmp.Or(image.Origin, r.status.Self)
	_, err = create(s, r, image, func(tx *fabric.Tx) error {
		if err := tx.Put(image); err != nil {
			return err
		}
		for _, name := range meta.aliases {
			a := &fabric.Alias{Header: fabric.Header{Name: name}, Target: image.Name}
			if has(tx.Snapshot(), fabric.KeyOf(a)) {
				return exists(fabric.KeyOf(a))
			}
			if err := tx.Put(a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	op, err := s.operations.start(job{
		description: "Importing image", resources: map[string][]string{"images": {"/1.0/images/" + image.Name}}, location: r.status.Self,
		metadata: map[string]any{"fingerprint": image.Name, "size": strconv.FormatInt(image.Size, 10)},
		run:      func(context.Context, *operation) error { return nil }, // the files came with the request
	})
	return reply{op: op}, err
}

// formFile is a part of a form, looked for when it is first read: a form has its parts one after the other.
type formFile struct {
	form *multipart.Reader
	name string
	part *multipart.Part
}

func (f *formFile) Read(p []byte) (int, error) {
	if f.part == nil {
		part, err := f.form.NextPart()
		if err != nil {
			return 0, fabric.Invalidf("bad-form", "import an image: the form has no %s: %w", f.name, err)
		}
		if name := part.FormName(); name != f.name && !strings.HasPrefix(name, f.name+".") {
			return 0, fabric.Invalidf("bad-form", "import an image: the form has %q where %s is wanted", name, f.name).WithFix("send metadata first, then rootfs")
		}
		f.part = part
	}
	return f.part.Read(p)
}

func (f *formFile) Close() error { return nil }

// imageHeaders are what the headers of an upload say.
type imageHeaders struct {
	filename, fingerprint string
	public                bool
	properties            map[string]string
	aliases, profiles     []string
}

// readImageHeaders reads the X-LXD- headers, or the same of Incus.
func readImageHeaders(h http.Header) (imageHeaders, error) {
	get := func(name string) string { return cmp.Or(h.Get("X-LXD-"+name), h.Get("X-Incus-"+name)) }
	values := func(name string) (url.Values, error) {
		v, err := url.ParseQuery(get(name))
		if err != nil {
			return nil, fabric.Invalidf("bad-header", "import an image: header X-LXD-%s is not URL-encoded", name)
		}
		return v, nil
	}
	meta := imageHeaders{fingerprint: get("fingerprint"), properties: map[string]string{}}
	meta.public = fabric.ParseBool(get("public"))
	if name := get("filename"); name != "" {
		meta.filename = path.Base(name)
	}
	properties, err := values("properties")
	if err != nil {
		return meta, err
	}
	for k := range properties {
		meta.properties[k] = properties.Get(k)
	}
	aliases, err := values("aliases")
	if err != nil {
		return meta, err
	}
	profiles, err := values("profiles")
	if err != nil {
		return meta, err
	}
	meta.aliases = append(aliases["alias"], aliases["name"]...)
	meta.profiles = append(profiles["profile"], profiles["name"]...)
	return meta, nil
}

func (m imageHeaders) apply(i *fabric.Image) {
	i.Filename, i.Public = cmp.Or(m.filename, i.Filename), m.public
	if i.Properties == nil {
		i.Properties = map[string]string{}
	}
	maps.Copy(i.Properties, m.properties)
	if len(m.profiles) > 0 {
		i.Profiles = m.profiles
	}
}

func (s *Server) exportImage(r *request) (reply, error) {
	if file := r.PathValue("file"); file != "export" {
		return reply{}, fabric.NotFoundf("images have no %q", file).WithFix("the files of an image are at export")
	}
	i, err := findImage(r)
	if err != nil {
		return reply{}, err
	}
	files, err := s.Images.Open(i.Name)
	switch {
	case err == nil:
		return reply{stream: func(w http.ResponseWriter) { sendFiles(w, i, files) }}, nil
	case fabric.CodeOf(err) == fabric.CodeNotFound && r.query("target") == "":
		return s.exportRemote(r, i)
	}
	return reply{}, err
}

// sendFiles writes the files of an image. When one can't be read to its end the connection is cut: the other side must not take it for whole.
func sendFiles(w http.ResponseWriter, i *fabric.Image, files []fabric.ImageFile) {
	defer func() {
		for _, f := range files {
			f.Body.Close()
		}
	}()
	if len(files) == 1 {
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": cmp.Or(i.Filename, i.Name)}))
		if files[0].Size >= 0 {
			h.Set("Content-Length", strconv.FormatInt(files[0].Size, 10))
		}
		if _, err := io.Copy(w, files[0].Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		return
	}
	form := multipart.NewWriter(w)
	w.Header().Set("Content-Type", form.FormDataContentType())
	if writeParts(form, files) != nil {
		panic(http.ErrAbortHandler)
	}
}

// exportRemote passes on the files from a member that has them.
func (s *Server) exportRemote(r *request, i *fabric.Image) (reply, error) {
	for _, c := range r.reports().Of(fabric.KeyOf(i)) {
		if c.Type != fabric.ConditionPresent || !c.OK || c.Member == r.status.Self || offline(r.status, c.Member) {
			continue
		}
		remote, err := s.Remote(c.Member)
		if err != nil {
			return reply{}, err
		}
		// With a target the other member does not look further.
		resp, err := remote.Target(c.Member).raw(r.Context(), "/1.0/images/"+seg(i.Name)+"/export")
		if err != nil {
			return reply{}, err
		}
		return reply{stream: func(w http.ResponseWriter) {
			defer resp.Body.Close()
			for _, name := range []string{"Content-Type", "Content-Disposition", "Content-Length"} {
				if v := resp.Header.Get(name); v != "" {
					w.Header().Set(name, v)
				}
			}
			if _, err := io.Copy(w, resp.Body); err != nil {
				panic(http.ErrAbortHandler)
			}
		}}, nil
	}
	return reply{}, fabric.Errorf(fabric.CodeUnavailable, "no-copy", "image %.12s: no member that is online has its files", i.Name).
		WithFix("start a member that has them, or import the image again")
}
