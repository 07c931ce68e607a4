package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// Exec runs a command in an instance, wherever that is, and returns its exit status. It returns when the command has ended and its output
// has been written; a read from r.Stdin that goes on then is left behind. The command is ended when ctx ends.
func (c *Client) Exec(ctx context.Context, instance string, r fabric.ExecRequest) (int, error) {
	op, err := c.Send(ctx, http.MethodPost, "/1.0/instances/"+seg(instance)+"/exec", incusapi.InstanceExecPost{
		Command: r.Command, Environment: r.Environment, Cwd: r.Cwd, User: r.UID, Group: r.GID,
		WaitForWS: true, Interactive: r.Terminal, Width: r.Width, Height: r.Height,
	}, "")
	if err != nil {
		return -1, err
	}
	status, err := c.runExec(ctx, op, instance, r)
	if err != nil && !op.StatusCode.IsFinal() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		op.Cancel(ctx) // it may have ended meanwhile: err says more
		return status, err
	}
	return status, err
}

func (c *Client) runExec(ctx context.Context, op *Operation, instance string, r fabric.ExecRequest) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conns, err := c.execConns(ctx, op, instance, r.Terminal)
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	if err != nil {
		return -1, err
	}
	stop := context.AfterFunc(ctx, func() {
		for _, conn := range conns {
			conn.Close()
		}
	})
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
	if err := op.Wait(ctx); err != nil {
		return -1, err
	}
	output.Wait()
	status, ok := op.Metadata["return"].(float64)
	if !ok {
		return -1, fabric.Errorf(fabric.CodeInternal, "bad-answer", "exec in %q: %s gave no exit status", instance, c.where)
	}
	return int(status), nil
}

// execConns opens the streams of an exec. Control comes first: the command starts when the others are there, and may be over at once.
func (c *Client) execConns(ctx context.Context, op *Operation, instance string, terminal bool) (map[string]*websocket.Conn, error) {
	names := []string{"control", "0", "1", "2"}
	if terminal {
		names = names[:2]
	}
	secrets, _ := op.Metadata["fds"].(map[string]any)
	conns := map[string]*websocket.Conn{}
	for _, name := range names {
		secret, ok := secrets[name].(string)
		if !ok {
			return conns, fabric.Errorf(fabric.CodeInternal, "bad-answer", "exec in %q: %s gave no stream %q", instance, c.where, name)
		}
		conn, err := c.websocket(ctx, "/1.0/operations/"+seg(op.ID)+"/websocket?secret="+url.QueryEscape(secret))
		if err != nil {
			return conns, err
		}
		conns[name] = conn
	}
	return conns, nil
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
			if !ok || sendControl(conn, c) != nil {
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
