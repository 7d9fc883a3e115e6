package resume

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// window bounds what was received and not read, and what was written and not confirmed.
	window = 4 << 20
	// confirmEvery is after how many bytes that were read the peer hears of them.
	confirmEvery = 128 << 10
)

// Conn is a kept connection, for its user a net.Conn.
type Conn struct {
	key     []byte
	resumed uint64 // the last number of a proof; guarded by the registry
	hold    time.Duration
	over    func(reason string)
	serve   func(net.Conn)
	remote  net.Addr

	mu      sync.Mutex
	changed *sync.Cond
	carrier *carrier // the present one
	expiry  *time.Timer
	served  bool

	in        ring
	received  uint64
	confirmed uint64 // of what was read, to the peer
	inEOF     bool

	out    ring
	base   uint64 // bytes before out
	high   uint64 // end of what was ever sent
	taken  uint64 // read by the peer's user
	closed bool   // by its user
	ended  bool
}

var local = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 22}

func newConn(remote net.Addr) *Conn {
	c := &Conn{remote: remote}
	c.changed = sync.NewCond(&c.mu)
	return c
}

// Read returns bytes as they arrive.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case c.in.size > 0:
			n := c.in.peek(0, p)
			c.in.drop(n)
			if c.read()-c.confirmed >= confirmEvery {
				c.changed.Broadcast()
			}
			return n, nil
		case c.inEOF, c.ended:
			return 0, io.EOF
		}
		c.changed.Wait()
	}
}

// read is the number of bytes that Read returned.
func (c *Conn) read() uint64 { return c.received - uint64(c.in.size) }

// Write returns when the bytes are kept to be sent.
func (c *Conn) Write(p []byte) (written int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(p) > 0 {
		switch {
		case c.closed:
			return written, net.ErrClosed
		case c.ended:
			return written, io.ErrClosedPipe
		}
		n := c.out.push(p, window)
		p, written = p[n:], written+n
		if n > 0 {
			c.changed.Broadcast()
		} else {
			c.changed.Wait()
		}
	}
	return written, nil
}

// Close ends the connection once the peer has everything that was written.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.changed.Broadcast()
	return nil
}

// end forgets the connection; the caller has the lock.
func (c *Conn) end(reason string) {
	if c.ended {
		return
	}
	c.ended = true
	c.out = ring{}
	if c.expiry != nil {
		c.expiry.Stop()
	}
	c.changed.Broadcast()
	go c.over(reason) // which takes the registry's lock
}

// Drop gives up a connection that Attach made and nothing ever carried.
func (c *Conn) Drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.served {
		c.end("it was not carried")
	}
}

// SetDeadline does nothing: the SSH server needs none.
func (c *Conn) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline does nothing.
func (c *Conn) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline does nothing.
func (c *Conn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// LocalAddr returns an address of this session.
func (c *Conn) LocalAddr() net.Addr { return local }

// RemoteAddr returns the client's address when it opened the connection.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }
