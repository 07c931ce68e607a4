package api

import (
	"context"
	"io"
	"net/http"

	"netfabric/fabric"
)

// GetInstanceLog reads the log of an instance's start and end. The caller closes it.
func (c *Client) GetInstanceLog(ctx context.Context, name string) (io.ReadCloser, error) {
	resp, err := c.raw(ctx, "/1.0/instances/"+seg(name)+"/logs/lxc.log")
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// logFile is the one log of an instance.
const logFile = "lxc.log"

func (s *Server) getInstanceLogs(r *request) (reply, error) {
	i, err := findInstance(r)
	if err != nil {
		return reply{}, err
	}
	return reply{metadata: []string{"/1.0/instances/" + seg(i.Name) + "/logs/" + logFile}}, nil
}

func (s *Server) getInstanceLog(r *request) (reply, error) {
	i, err := findInstance(r)
	if err != nil {
		return reply{}, err
	}
	if r.PathValue("file") != logFile {
		return reply{}, fabric.NotFoundf("instance %q has no log %q", i.Name, r.PathValue("file")).WithFix("it has %s", logFile)
	}
	var body io.ReadCloser
	if i.Member == r.status.Self {
		body, err = s.Instances.Log(i.Name)
	} else {
		body, err = s.remoteLog(r, i)
	}
	if err != nil {
		return reply{}, err
	}
	return reply{stream: func(w http.ResponseWriter) {
		defer body.Close()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		io.Copy(w, body) // an error means that the caller is gone, or sees that the file is cut off
	}}, nil
}

func (s *Server) remoteLog(r *request, i *fabric.Instance) (io.ReadCloser, error) {
	remote, err := s.Remote(i.Member)
	if err != nil {
		return nil, err
	}
	return remote.GetInstanceLog(r.Context(), i.Name)
}
