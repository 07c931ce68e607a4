package api

import (
	"context"
	"io"
)

// GetInstanceLog reads the log of an instance's start and end. The caller closes it.
func (c *Client) GetInstanceLog(ctx context.Context, name string) (io.ReadCloser, error) {
	resp, err := c.raw(ctx, "/1.0/instances/"+seg(name)+"/logs/lxc.log")
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}
