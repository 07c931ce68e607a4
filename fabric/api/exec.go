package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/gorilla/websocket"
	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// Exec runs a command in an instance, wherever that is, and returns its exit status. It returns when the command has ended and its output
// has been written; a read from r.Stdin that goes on then is left behind.
func (c *Client) Exec(ctx context.Context, instance string, r fabric.ExecRequest) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	op, err := c.Send(ctx, http.MethodPost, "/1.0/instances/"+seg(instance)+"/exec", incusapi.InstanceExecPost{
		Command: r.Command, Environment: r.Environment, Cwd: r.Cwd, User: r.UID, Group: r.GID,
		WaitForWS: true, Interactive: r.Terminal, Width: r.Width, Height: r.Height,
	}, "")
	if err != nil {
		return -1, err
	}
	fds, _ := op.Metadata["fds"].(map[string]any)
	conns := map[string]*websocket.Conn{}
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	for fd, secret := range fds {
		s, _ := secret.(string)
		conn, err := c.websocket(ctx, "/1.0/operations/"+seg(op.ID)+"/websocket?secret="+url.QueryEscape(s))
		if err != nil {
			return -1, err
		}
		conns[fd] = conn
	}
	if conns["0"] == nil || conns["control"] == nil || !r.Terminal && (conns["1"] == nil || conns["2"] == nil) {
		return -1, fabric.Errorf(fabric.CodeInternal, "bad-answer", "exec in %q: %s gave no streams", instance, c.where)
	}
	stop := context.AfterFunc(ctx, func() { conns["control"].Close() })
	defer stop()
	go sendControls(ctx, conns["control"], r.Control)
	go discard(conns["control"])
	go sendStream(conns["0"], r.Stdin)

	var output sync.WaitGroup
	receive := func(fd string, w io.Writer) {
		output.Go(func() { receiveStream(conns[fd], w) })
	}
	if r.Terminal {
		receive("0", r.Stdout)
	} else {
		go discard(conns["0"])
		receive("1", r.Stdout)
		receive("2", r.Stderr)
	}
	err = op.Wait(ctx)
	if err != nil {
		return -1, err
	}
	output.Wait()
	status, ok := op.Metadata["return"].(float64)
	if !ok {
		return -1, fabric.Errorf(fabric.CodeInternal, "bad-answer", "exec in %q: %s gave no exit status", instance, c.where)
	}
	return int(status), nil
}

// sendStream copies what is read to a websocket, and an empty text message at the end of it: so the dialect says that a stream has ended.
func sendStream(conn *websocket.Conn, r io.Reader) {
	if r != nil {
		buf := make([]byte, 32<<10)
		for {
			n, err := r.Read(buf)
			if n > 0 && conn.WriteMessage(websocket.BinaryMessage, buf[:n]) != nil {
				return
			}
			if err != nil {
				break
			}
		}
	}
	conn.WriteMessage(websocket.TextMessage, nil)
}

// receiveStream copies what comes from a websocket, until the stream ends or nobody wants it.
func receiveStream(conn *websocket.Conn, w io.Writer) error {
	for {
		kind, data, err := conn.NextReader()
		if err != nil {
			return fmt.Errorf("stream was cut off: %w", err)
		}
		if kind == websocket.TextMessage {
			return nil
		}
		if w == nil {
			w = io.Discard
		}
		if _, err := io.Copy(w, data); err != nil {
			return err
		}
	}
}

// discard reads a websocket that nothing is expected from, so that pings and the end are seen.
func discard(conn *websocket.Conn) {
	for {
		if _, _, err := conn.NextReader(); err != nil {
			return
		}
	}
}

func sendControls(ctx context.Context, conn *websocket.Conn, controls <-chan fabric.ExecControl) {
	for {
		select {
		case <-ctx.Done():
			return
		case c, ok := <-controls:
			if !ok || errors.Join(sendControl(conn, c)) != nil {
				return
			}
		}
	}
}

func sendControl(conn *websocket.Conn, c fabric.ExecControl) error {
	if c.Signal != 0 {
		if err := conn.WriteJSON(incusapi.InstanceExecControl{Command: "signal", Signal: c.Signal}); err != nil {
			return err
		}
	}
	if c.Width == 0 && c.Height == 0 {
		return nil
	}
	return conn.WriteJSON(incusapi.InstanceExecControl{
		Command: "window-resize",
		Args:    map[string]string{"width": strconv.Itoa(c.Width), "height": strconv.Itoa(c.Height)},
	})
}
