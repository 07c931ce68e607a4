package cluster

import "net"

// wholeRequests is a connection of a client that sends each request in one piece. go-dqlite writes a request in two, and each piece wakes
// everybody on the way to the node: two processes and a thread of dqlite.
type wholeRequests struct {
	net.Conn
	request []byte // not sent yet
}

// Write implements net.Conn.
func (c *wholeRequests) Write(p []byte) (int, error) {
	c.request = append(c.request, p...)
	return len(p), nil
}

// Read implements net.Conn. What was written goes out first: only then can there be an answer to it.
func (c *wholeRequests) Read(p []byte) (int, error) {
	if request := c.request; request != nil {
		c.request = nil
		if _, err := c.Conn.Write(request); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}
