// Package forward pipes connections between two ends, and opens the ends that SSH clients request.
package forward

import (
	"io"
	"net"
	"sync"
	"syscall"
)

// bufferSize suits both SSH (32 KiB packets) and the tunnel (frames of up to 256 KiB).
const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Duplex is a connection that can be half-closed.
type Duplex interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// resetter is a connection that can tell its peer why it broke.
type resetter interface{ Reset(reason string) }

// carrier is a connection that moves more at once than Copy does, and has no buffer while idle.
type carrier interface {
	WriteTo(w io.Writer) (int64, error)
	SendFrom(from syscall.Conn) (int64, error)
}

// Pipe copies both ways until both directions have ended, then closes both ends. The end of one direction does not affect
// the other; an error ends both. touch is called for each piece, but not for those of a carrier.
func Pipe(a, b Duplex, touch func()) {
	var both sync.WaitGroup
	both.Go(func() { oneWay(a, b, touch) })
	both.Go(func() { oneWay(b, a, touch) })
	both.Wait()
	_ = a.Close()
	_ = b.Close()
}

func oneWay(dst, src Duplex, touch func()) {
	if err := move(dst, src, touch); err != nil {
		abort(dst, err)
		abort(src, err)
		return
	}
	_ = dst.CloseWrite()
}

func move(dst, src Duplex, touch func()) error {
	if from, ok := src.(carrier); ok {
		_, err := from.WriteTo(dst)
		return err
	}
	socket, isSocket := src.(syscall.Conn)
	if to, ok := dst.(carrier); ok && isSocket {
		_, err := to.SendFrom(socket)
		return err
	}
	return Copy(dst, src, touch)
}

// Copy copies until src ends. It bypasses ReadFrom and WriteTo of the ends, whose buffers are smaller.
func Copy(dst io.Writer, src io.Reader, touch func()) error {
	buffer := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buffer)
	_, err := io.CopyBuffer(touchingWriter{dst, touch}, struct{ io.Reader }{src}, buffer[:])
	return err
}

type touchingWriter struct {
	io.Writer
	touch func()
}

func (w touchingWriter) Write(p []byte) (int, error) {
	w.touch()
	return w.Writer.Write(p)
}

// abort closes an end such that its peer can tell an error from EOF.
func abort(end Duplex, cause error) {
	switch conn := end.(type) {
	case resetter:
		conn.Reset(cause.Error())
	case *net.TCPConn:
		_ = conn.SetLinger(0)
	}
	_ = end.Close()
}
