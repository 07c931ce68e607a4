package api

import (
	"context"
	"crypto/subtle"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// connectTimeout is how long an exec waits for its websockets.
const connectTimeout = 15 * time.Second

func (s *Server) postExec(r *request) (reply, error) {
	var post incusapi.InstanceExecPost
	if err := r.decode(&post); err != nil {
		return reply{}, err
	}
	i, err := findInstance(r)
	if err != nil {
		return reply{}, err
	}
	if err := checkExec(i.Name, post); err != nil {
		return reply{}, err
	}
	if offline(r.status, i.Member) {
		return reply{}, fabric.Errorf(fabric.CodeUnavailable, "member-offline", "exec in instance %q: its member %q is offline", i.Name, i.Member)
	}
	// Only its own member is sure: word of a start may be on its way here.
	if i.Member == r.status.Self && observe(r, i).Status != fabric.InstanceRunning {
		return reply{}, fabric.Conflictf("not-running", "exec in instance %q: it is not running", i.Name).WithFix("start it")
	}
	run := s.Instances.Exec
	if i.Member != r.status.Self {
		remote, err := s.Remote(i.Member)
		if err != nil {
			return reply{}, err
		}
		run = remote.Exec
	}
	streams := newExecStreams(post.Interactive)
	op, err := s.operations.start(job{
		class: incusapi.OperationClassWebsocket, description: "Executing command",
		resources: map[string][]string{"instances": {"/1.0/instances/" + seg(i.Name)}, "containers": {"/1.0/containers/" + seg(i.Name)}},
		metadata:  map[string]any{"command": post.Command, "interactive": post.Interactive},
		location:  r.status.Self, cancellable: true, connect: streams.connect,
		run: func(ctx context.Context, op *operation) error {
			ctx, end := s.whileTrusted(ctx, r.Request)
			defer end()
			status, err := streams.run(ctx, i.Name, post, run)
			if err == nil {
				op.set("return", status)
			}
			if context.Cause(ctx) == errRevoked {
				return errRevoked
			}
			return err
		},
	})
	if err != nil {
		return reply{}, err
	}
	shown := op.render()
	shown.Metadata["fds"] = streams.secrets
	return reply{shown: &shown}, nil
}

func checkExec(name string, post incusapi.InstanceExecPost) error {
	switch {
	case len(post.Command) == 0 || post.Command[0] == "":
		return fabric.Invalidf("no-command", "exec in instance %q: no command is given", name)
	case post.RecordOutput:
		return fabric.Errorf(fabric.CodeNotSupported, "record-output", "exec in instance %q: recording output is not supported", name).WithFix("use wait-for-websocket")
	case !post.WaitForWS:
		return fabric.Errorf(fabric.CodeNotSupported, "no-websocket", "exec in instance %q: running without streams is not supported", name).WithFix("use wait-for-websocket")
	case post.Width < 0 || post.Width > 65535 || post.Height < 0 || post.Height > 65535:
		return fabric.Invalidf("bad-value", "exec in instance %q: a terminal of %d by %d is not possible", name, post.Width, post.Height)
	}
	for _, word := range post.Command {
		if strings.ContainsRune(word, 0) {
			return fabric.Invalidf("bad-value", "exec in instance %q: an argument has a NUL byte", name)
		}
	}
	for k, v := range post.Environment {
		if k == "" || strings.ContainsAny(k, "=\x00") || strings.ContainsRune(v, 0) {
			return fabric.Invalidf("bad-value", "exec in instance %q: %q is no environment variable", name, k)
		}
	}
	return nil
}

// execStreams are the websockets of one exec: "0" with a terminal, else "0", "1" and "2"; and "control".
type execStreams struct {
	terminal bool
	secrets  map[string]string // by stream

	mu        sync.Mutex
	conns     map[string]*websocket.Conn
	over      bool
	connected chan struct{} // closed when all but control are there
	control   chan struct{} // closed when control is there
}

func newExecStreams(terminal bool) *execStreams {
	e := &execStreams{
		terminal: terminal, secrets: map[string]string{"0": newSecret(), "control": newSecret()},
		conns: map[string]*websocket.Conn{}, connected: make(chan struct{}), control: make(chan struct{}),
	}
	if !terminal {
		e.secrets["1"], e.secrets["2"] = newSecret(), newSecret()
	}
	return e
}

// connect takes a websocket for the stream whose secret is given. A secret is good once.
func (e *execStreams) connect(given string, w http.ResponseWriter, r *http.Request) error {
	stream := ""
	for name, secret := range e.secrets {
		if subtle.ConstantTimeCompare([]byte(secret), []byte(given)) == 1 {
			stream = name
		}
	}
	if stream == "" {
		return fabric.Errorf(fabric.CodeForbidden, "bad-secret", "the secret is not one of this operation")
	}
	if !websocket.IsWebSocketUpgrade(r) {
		return errNoWebsocket
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over || e.conns[stream] != nil {
		return fabric.Conflictf("connected", "the stream %q of this operation is not free", stream)
	}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return nil // the upgrader has answered
	}
	e.conns[stream] = conn
	if stream == "control" {
		close(e.control)
	} else if e.complete() {
		close(e.connected)
	}
	return nil
}

func (e *execStreams) complete() bool {
	for name := range e.secrets {
		if name != "control" && e.conns[name] == nil {
			return false
		}
	}
	return true
}

// run waits for the streams, and runs the command with them.
func (e *execStreams) run(ctx context.Context, instance string, post incusapi.InstanceExecPost, exec func(context.Context, string, fabric.ExecRequest) (int, error)) (int, error) {
	defer e.close()
	timeout := time.NewTimer(connectTimeout)
	defer timeout.Stop()
	select {
	case <-e.connected:
	case <-ctx.Done():
		return -1, ctx.Err()
	case <-timeout.C:
		return -1, fabric.Errorf(fabric.CodeUnavailable, "not-connected", "exec in instance %q: nobody connected to its streams for %s", instance, connectTimeout)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	controls := make(chan fabric.ExecControl)
	go e.readControls(ctx, controls, cancel)

	stdin, stdinWriter := io.Pipe()
	defer stdin.Close()
	go func() { stdinWriter.CloseWithError(endOf(receiveStream(e.conns["0"], stdinWriter))) }()

	r := fabric.ExecRequest{
		Command: post.Command, Environment: post.Environment, Cwd: post.Cwd, UID: post.User, GID: post.Group,
		Terminal: post.Interactive, Width: post.Width, Height: post.Height, Stdin: stdin, Control: controls,
	}
	outputs := []string{"0"}
	if !e.terminal {
		outputs = []string{"1", "2"}
		r.Stderr = &streamWriter{conn: e.conns["2"]}
		go discard(e.conns["1"])
		go discard(e.conns["2"])
	}
	r.Stdout = &streamWriter{conn: e.conns[outputs[0]]}
	status, err := exec(ctx, instance, r)
	for _, name := range outputs {
		endStream(e.conns[name])
	}
	return status, err
}

// endOf makes the end of a stream an end of file, however it came.
func endOf(error) error { return io.EOF }

// close ends the streams, and keeps new ones away.
func (e *execStreams) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	for _, conn := range e.conns {
		conn.Close()
	}
}

// readControls passes on what comes over the control stream. When that stream ends, the caller is gone, and so the command is ended.
func (e *execStreams) readControls(ctx context.Context, controls chan<- fabric.ExecControl, gone func()) {
	defer close(controls)
	select {
	case <-e.control:
	case <-ctx.Done():
		return
	}
	e.mu.Lock()
	conn := e.conns["control"]
	e.mu.Unlock()
	conn.SetReadLimit(64 << 10)
	for {
		var msg incusapi.InstanceExecControl
		if err := conn.ReadJSON(&msg); err != nil {
			gone()
			return
		}
		c := fabric.ExecControl{Signal: msg.Signal}
		if msg.Command == "window-resize" {
			c.Width, _ = strconv.Atoi(msg.Args["width"])
			c.Height, _ = strconv.Atoi(msg.Args["height"])
		}
		select {
		case controls <- c:
		case <-ctx.Done():
			return
		}
	}
}

// streamWriter writes to a websocket.
type streamWriter struct {
	mu   sync.Mutex
	conn *websocket.Conn
}

func (w *streamWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if err := w.conn.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// endStream says that nothing more comes.
func endStream(conn *websocket.Conn) {
	deadline := time.Now().Add(writeTimeout)
	conn.SetWriteDeadline(deadline)
	if conn.WriteMessage(websocket.TextMessage, nil) == nil {
		conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), deadline)
	}
}
