package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"netfabric/fabric"
)

// fetcher gets images from other members through their API.
type fetcher struct{ *daemon }

// Fetch implements compute.Fetcher.
func (f fetcher) Fetch(ctx context.Context, member, fingerprint string) ([]fabric.ImageFile, error) {
	client, err := f.remote(member)
	if err != nil {
		return nil, err
	}
	next, end, err := client.ExportImage(ctx, fingerprint)
	if err != nil {
		return nil, err
	}
	first, err := next()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read image %.12s of member %s: %w", fingerprint, member, err), end())
	}
	const metadata, rootfs = "metadata", "rootfs"
	if first.Name != metadata {
		first.Body = &part{reader: first.Body, end: end}
		return []fabric.ImageFile{first}, nil
	}
	// The answer has one file after the other: the second begins where the first ends.
	first.Body = io.NopCloser(first.Body)
	second := &part{end: end, open: func() (io.Reader, error) {
		f, err := next()
		if err == nil && f.Name != rootfs {
			err = fmt.Errorf("image %.12s of member %s: second file is %q, not %q", fingerprint, member, f.Name, rootfs)
		}
		return f.Body, err
	}}
	return []fabric.ImageFile{first, {Name: rootfs, Size: -1, Body: second}}, nil
}

// part is a file of an answer: opened when it is first read, and the last to be closed.
type part struct {
	reader io.Reader
	open   func() (io.Reader, error)
	end    func() error
}

func (p *part) Read(b []byte) (int, error) {
	if p.reader == nil {
		r, err := p.open()
		if err != nil {
			return 0, err
		}
		p.reader = r
	}
	return p.reader.Read(b)
}

func (p *part) Close() error { return p.end() }
