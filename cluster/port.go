package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	handshakeTimeout = 5 * time.Second
	// deadPeerTimeout bounds how long a silent peer keeps a connection: one that vanished in the middle of a transaction holds the write
	// lock of the database until then.
	deadPeerTimeout = 3 * time.Second
)

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 3}

// userTimeout makes the kernel give up data that nobody acknowledges, TCP_USER_TIMEOUT in tcp(7).
func userTimeout(_, _ string, raw syscall.RawConn) error {
	var err error
	if cerr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadPeerTimeout.Milliseconds()))
	}); cerr != nil {
		return cerr
	}
	return err
}

// port is the one TCP port of a member. The database and the REST API share it, told apart by ALPN: that is one hole in the firewall and one
// certificate to trust, for the command line as for other members.
type port struct {
	tcp      net.Listener
	config   *tls.Config
	database func(*tls.Conn) // takes the connection over
	rest     *restListener

	wait sync.WaitGroup
	ctx  context.Context
	stop context.CancelFunc
}

// listen opens the port and serves it until close.
func listen(address string, config *tls.Config, database func(*tls.Conn), rest *restListener) (*port, error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive, Control: userTimeout}
	tcp, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	p := &port{tcp: tcp, config: config, database: database, rest: rest}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.wait.Go(p.serve)
	return p, nil
}

func (p *port) serve() {
	const pause = 50 * time.Millisecond // when file descriptors have run out
	for {
		conn, err := p.tcp.Accept()
		switch {
		case err == nil:
			p.wait.Go(func() { p.handle(conn) })
		case p.ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default:
			select {
			case <-time.After(pause):
			case <-p.ctx.Done():
				return
			}
		}
	}
}

func (p *port) handle(raw net.Conn) {
	conn := tls.Server(raw, p.config)
	ctx, cancel := context.WithTimeout(p.ctx, handshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return
	}
	if strings.HasPrefix(conn.ConnectionState().NegotiatedProtocol, protocolDatabase) {
		p.database(conn)
		return
	}
	select {
	case p.rest.conns <- conn:
	case <-p.rest.closed:
		conn.Close()
	case <-ctx.Done(): // nobody serves the API
		conn.Close()
	}
}

// close ends the port. Connections that were handed over live on.
func (p *port) close() {
	p.stop()
	p.tcp.Close()
	p.wait.Wait()
}

// restListener is the listener of the REST API: it exists before there is a port, and outlives it.
type restListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex
	address net.Addr
}

func newRESTListener() *restListener {
	return &restListener{conns: make(chan net.Conn), closed: make(chan struct{}), address: &net.TCPAddr{}}
}

// Accept implements net.Listener. What it returns are *tls.Conn that have shaken hands.
func (l *restListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *restListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener. It is zero while the member is in no cluster.
func (l *restListener) Addr() net.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.address
}

func (l *restListener) setAddr(a net.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.address = a
}
