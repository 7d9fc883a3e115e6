package dialback

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"

	"netvps/tunnel/api"
)

// The rules of DialBack, see tunnel.proto.
const (
	window      = 1 << 20   // credit that each direction starts with
	creditBatch = 256 << 10 // bytes taken before they are credited
	maxFrame    = 256 << 10
	maxPending  = 256 << 10 // bytes written and not sent yet
	linger      = 10 * time.Second
)

type stream = grpc.BidiStreamingClient[api.DialBackRequest, api.DialBackResponse]

// Conn is a DialBack stream as a net.Conn that can half-close. Three goroutines share its lock: the sender, the only one
// that writes to the stream; the receiver, the only one that reads from it, which never waits for anything else, so that
// credits arrive whatever the user of the Conn does; and that user. It buffers at most 1 MiB per direction.
type Conn struct {
	stream        stream
	cancel        context.CancelFunc
	local, remote net.Addr
	done          sync.WaitGroup // sender and receiver

	mu      sync.Mutex
	changed *sync.Cond // signals changes of the fields below

	in      [][]byte // received, not read
	granted int      // bytes that the peer may still send
	handed  int      // bytes handed out by the last Read: taken by the next hop once it asks for more
	taken   int      // bytes taken and not credited yet
	inEOF   bool

	out      []byte // written, not sent
	credit   uint64 // bytes that may be sent
	outEOF   bool   // no more will be written
	sentEOF  bool
	closed   bool   // closed by the user: incoming data is dropped
	breakFor string // reason of a reset to send
	err      error  // how the stream ended, io.EOF for well

	readBy, writeBy deadline
}

func newConn(stream stream, cancel context.CancelFunc, local, remote net.Addr) *Conn {
	c := &Conn{stream: stream, cancel: cancel, local: local, remote: remote, granted: window, credit: window}
	c.changed = sync.NewCond(&c.mu)
	c.done.Go(c.send)
	c.done.Go(c.receive)
	return c
}

// Wait returns when the stream has ended.
func (c *Conn) Wait() { c.done.Wait() }

// Read returns bytes as they arrive. Calling it again means that the next hop has taken the previous ones.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.take(c.handed)
	c.handed = 0
	for {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case len(c.in) > 0:
			return c.hand(p), nil
		case c.inEOF:
			return 0, io.EOF
		case c.err != nil:
			return 0, unexpected(c.err)
		case c.readBy.passed:
			return 0, os.ErrDeadlineExceeded
		}
		c.changed.Wait()
	}
}

func (c *Conn) hand(p []byte) int {
	n := copy(p, c.in[0])
	if c.in[0] = c.in[0][n:]; len(c.in[0]) == 0 {
		c.in[0] = nil
		c.in = c.in[1:]
	}
	c.handed = n
	return n
}

func (c *Conn) take(n int) {
	c.taken += n
	if c.taken >= creditBatch {
		c.changed.Broadcast()
	}
}

// Write returns when the bytes are in the send buffer, which the sender empties in frames as large as possible.
func (c *Conn) Write(p []byte) (written int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(p) > 0 {
		switch {
		case c.closed, c.outEOF:
			return written, net.ErrClosed
		case c.err != nil:
			return written, unexpected(c.err)
		case c.writeBy.passed:
			return written, os.ErrDeadlineExceeded
		case len(c.out) < maxPending:
			n := min(len(p), maxPending-len(c.out))
			c.out = append(c.out, p[:n]...)
			p, written = p[n:], written+n
			c.changed.Broadcast()
		default:
			c.changed.Wait()
		}
	}
	return written, nil
}

// CloseWrite ends this direction once everything written was sent; the other direction continues.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outEOF = true
	c.changed.Broadcast()
	return nil
}

// Close sends what was written and ends; a peer that does not end its direction, too, is reset after a while.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed, c.outEOF = true, true
	for _, data := range c.in {
		c.taken += len(data)
	}
	c.in = nil
	c.changed.Broadcast()
	if c.err == nil {
		time.AfterFunc(linger, func() { c.Reset("closed") })
	}
	return nil
}

// Reset breaks the connection and tells the peer why.
func (c *Conn) Reset(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.breakFor != "" {
		return
	}
	c.breakFor = reason
	c.changed.Broadcast()
	time.AfterFunc(linger, c.cancel) // a peer that does not read would never get the reset
}

// unexpected turns the end of a stream into an error for callers that still expect data.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// LocalAddr returns an address of this session.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the client's address, as far as the gateway knows it.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }
