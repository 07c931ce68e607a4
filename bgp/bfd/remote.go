package bfd

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// callTimeout bounds how long a Remote waits for an answer.
const callTimeout = 5 * time.Second

// reconnectInterval is between attempts to have a process again.
const reconnectInterval = 250 * time.Millisecond

// listenerFD is the file descriptor on which a started process finds its listener.
const listenerFD = 3

// Inherited returns the listener that a process started by a Remote has to Serve.
func Inherited() (net.Listener, error) {
	file := os.NewFile(listenerFD, "listener of BFD")
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("take the listener at file descriptor %d, where bgp/bfd.Remote puts it: %w", listenerFD, err)
	}
	return l, nil
}

// RemoteOptions are how a Remote runs.
type RemoteOptions struct {
	// Socket is the path of the process's unix socket. Its folder must be there, and be no one else's to write to.
	Socket string
	// Command makes a command that calls Serve with the Inherited listener. Without one, only a process that is there already is used.
	Command func() *exec.Cmd
	// Linger is for how long sessions go on without a controller: 0 not at all. With it neighbours are told that sessions are independent of the
	// control plane, so that the restart of a BGP speaker is no failure to their graceful restart (RFC 5882, 4.3).
	Linger time.Duration
	// Wake is called after each change of a session's state, and when the process is gone; must not block. Optional.
	Wake func()
}

// Remote has its sessions in a process of their own, which it starts where there is none, and again when it dies. There, the Go scheduler and the
// garbage collector have nothing else to do: at 10 ms a busy BGP speaker in the same process would make sessions fail. And they outlive this
// process. Otherwise it is like a Manager. Its methods may be called from any goroutine.
type Remote struct {
	options  RemoteOptions
	watchers watchers
	ctx      context.Context
	cancel   context.CancelFunc
	done     chan struct{}

	setting sync.Mutex // one Set at a time, so that the last one wins

	mu       sync.Mutex
	peers    []Peer
	wanted   bool  // Set was called
	conn     *line // nil while there is none
	fault    error // why there is none
	realtime error
}

// line is a connection to the process.
type line struct {
	conn     net.Conn
	decoder  *gob.Decoder
	realtime error

	mu      sync.Mutex
	encoder *gob.Encoder
	next    uint64
	pending map[uint64]chan reply
	err     error // set when it broke
}

// Connect connects to the process, and starts it where there is none. What it has from an earlier controller stays as it is until Set.
func Connect(o RemoteOptions) (*Remote, error) {
	r := &Remote{options: o, done: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	l, err := r.dial()
	if err != nil {
		r.cancel()
		return nil, fmt.Errorf("start BFD: %w", err)
	}
	r.attach(l)
	go r.run(l)
	return r, nil
}

// Set is as Manager.Set. When the process is not there, Set returns an error, and the peers are set as soon as it is.
func (r *Remote) Set(peers []Peer) error {
	desired, err := normalize(peers)
	if err != nil {
		return err
	}
	r.setting.Lock()
	defer r.setting.Unlock()
	r.mu.Lock()
	r.peers, r.wanted = desired, true
	r.mu.Unlock()
	_, err = r.call(context.Background(), request{Operation: opSet, Peers: desired, Linger: r.options.Linger})
	return err
}

// State is as Manager.State. Counters begin anew with each process.
func (r *Remote) State() ([]PeerState, error) {
	answer, err := r.call(context.Background(), request{Operation: opState})
	return answer.States, err
}

// Discards is as Manager.Discards.
func (r *Remote) Discards() (map[string]uint64, error) {
	answer, err := r.call(context.Background(), request{Operation: opDiscards})
	return answer.Discards, err
}

// Watch is as Manager.Watch. That the process dies is no event: whether a path is dead is not known then.
func (r *Remote) Watch(k Key) (events <-chan Event, stop func()) { return r.watchers.watch(k) }

// Realtime tells why the process has no real-time priority; nil when it has.
func (r *Remote) Realtime() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.realtime
}

// Shutdown is as Manager.Shutdown, and ends the process.
func (r *Remote) Shutdown(ctx context.Context) error {
	_, err := r.call(ctx, request{Operation: opShutdown})
	r.Close()
	return err
}

// Close leaves the process and its sessions to the next controller, which has Linger to come.
func (r *Remote) Close() {
	r.cancel()
	r.mu.Lock()
	if r.conn != nil {
		r.conn.conn.Close()
	}
	r.mu.Unlock()
	<-r.done
}

// run reads from the process, and has a new one when it is gone.
func (r *Remote) run(l *line) {
	defer close(r.done)
	for {
		l.fail(r.read(l))
		for l = nil; l == nil; {
			select {
			case <-time.After(reconnectInterval):
			case <-r.ctx.Done():
				return
			}
			var err error
			if l, err = r.dial(); err != nil {
				r.mu.Lock()
				r.fault = err
				r.mu.Unlock()
			}
		}
		r.attach(l)
	}
}

// attach makes l the connection, and has the peers set over it that were wanted before.
func (r *Remote) attach(l *line) {
	r.mu.Lock()
	r.conn, r.fault, r.realtime = l, nil, l.realtime
	wanted, closed := r.wanted, r.ctx.Err() != nil
	r.mu.Unlock()
	if closed {
		l.conn.Close()
	}
	if wanted {
		go func() {
			r.setting.Lock()
			defer r.setting.Unlock()
			r.mu.Lock()
			peers := r.peers
			r.mu.Unlock()
			_, _ = r.call(r.ctx, request{Operation: opSet, Peers: peers, Linger: r.options.Linger}) // fails with the connection: then this comes again
		}()
	}
}

// read handles what comes from the process until the connection ends.
func (r *Remote) read(l *line) error {
	for {
		var a reply
		if err := l.decoder.Decode(&a); err != nil {
			err = fmt.Errorf("the BFD process is gone: %w", err)
			r.mu.Lock()
			r.conn, r.fault = nil, err
			r.mu.Unlock()
			l.conn.Close()
			r.wake()
			return err
		}
		switch {
		case a.ID != 0:
			l.answer(a)
		case a.Event != nil:
			r.watchers.publish(*a.Event)
			r.wake()
		}
	}
}

func (r *Remote) wake() {
	if r.options.Wake != nil {
		r.options.Wake()
	}
}

// dial connects to the process; where none answers it starts one.
func (r *Remote) dial() (*line, error) {
	conn, err := net.Dial("unix", r.options.Socket)
	if (errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)) && r.options.Command != nil {
		if err := r.spawn(); err != nil {
			return nil, err
		}
		conn, err = net.Dial("unix", r.options.Socket)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the BFD process: %w", err)
	}
	l := &line{conn: conn, decoder: gob.NewDecoder(conn), encoder: gob.NewEncoder(conn), pending: map[uint64]chan reply{}}
	var hello reply
	err = errors.Join(conn.SetReadDeadline(time.Now().Add(callTimeout)), l.decoder.Decode(&hello), conn.SetReadDeadline(time.Time{}))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("hear from the BFD process: %w", err)
	}
	if hello.Realtime != "" {
		l.realtime = errors.New(hello.Realtime)
	}
	return l, nil
}

// spawn starts a process. The listener is made here, so that it can be connected to at once.
func (r *Remote) spawn() error {
	if err := os.Remove(r.options.Socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the socket of a BFD process that is gone: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: r.options.Socket, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen for the BFD process: %w", err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(r.options.Socket, 0o600); err != nil {
		return fmt.Errorf("keep others from the BFD process: %w", err)
	}
	file, err := l.File()
	if err != nil {
		return fmt.Errorf("hand the listener to the BFD process: %w", err)
	}
	defer file.Close()
	cmd := r.options.Command()
	cmd.ExtraFiles = []*os.File{file} // listenerFD
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true // what ends this process by its session doesn't end that one
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the BFD process: %w", err)
	}
	go cmd.Wait() // how it ended is seen on the connection
	return nil
}

// call asks the process. The context is bounded by callTimeout.
func (r *Remote) call(ctx context.Context, q request) (reply, error) {
	r.mu.Lock()
	l, fault := r.conn, r.fault
	r.mu.Unlock()
	if r.ctx.Err() != nil {
		return reply{}, ErrClosed
	}
	if l == nil {
		return reply{}, fault
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	a, err := l.call(ctx, q)
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	return a, err
}

func (l *line) call(ctx context.Context, q request) (reply, error) {
	answered := make(chan reply, 1)
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return reply{}, l.err
	}
	l.next++
	q.ID = l.next
	l.pending[q.ID] = answered
	deadline, _ := ctx.Deadline()
	err := errors.Join(l.conn.SetWriteDeadline(deadline), l.encoder.Encode(q))
	l.mu.Unlock()
	if err != nil {
		l.conn.Close() // a request may be half written
		return reply{}, fmt.Errorf("ask the BFD process: %w", err)
	}
	select {
	case a, ok := <-answered:
		if !ok {
			l.mu.Lock()
			defer l.mu.Unlock()
			return reply{}, l.err
		}
		return a, nil
	case <-ctx.Done():
		l.mu.Lock()
		delete(l.pending, q.ID)
		l.mu.Unlock()
		return reply{}, fmt.Errorf("wait for the BFD process: %w", ctx.Err())
	}
}

func (l *line) answer(a reply) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.pending[a.ID]; ok {
		delete(l.pending, a.ID)
		c <- a
	}
}

// fail ends all calls.
func (l *line) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	for _, c := range l.pending {
		close(c)
	}
	clear(l.pending)
}
