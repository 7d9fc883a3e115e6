package direct

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sizes of reads and writes, and of TLS.
const (
	bufferSize = 256 << 10
	headSize   = 5
	// maxPlain is the longest content of a TLS record; a read of TLS into more room leaves nothing behind in it.
	maxPlain = 16 << 10
)

// Idle connections have no buffers.
var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

func getBuffer() []byte { return *buffers.Get().(*[]byte) }

func putBuffer(b []byte) {
	if cap(b) >= bufferSize {
		b = b[:bufferSize]
		buffers.Put(&b)
	}
}

// socket is a TCP or Unix connection.
type socket interface {
	net.Conn
	syscall.Conn
}

// records is a connection below TLS. TLS reads and writes one record of 16 KiB at a time; this reads and writes many at
// once. TLS gets no bytes beyond the record that it reads, so that complete can tell whether another one is there.
type records struct {
	net.Conn
	raw syscall.RawConn

	in    []byte // read, from start on
	start int
	head  [headSize]byte // of the present record, as far as it was handed out
	heads int
	left  int // of the record's body

	kept    []byte // what was handed out, while keeping
	keeping bool
	deaf    bool // drops what is written

	mu     sync.Mutex
	out    []byte
	corked bool
}

func newRecords(conn socket) (*records, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &records{Conn: conn, raw: raw}, nil
}

// Read returns bytes of one record.
func (r *records) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.wait(); err != nil {
		return 0, err
	}
	var n int
	if r.left == 0 {
		n = copy(p, r.in[r.start:min(len(r.in), r.start+headSize-r.heads)])
		copy(r.head[r.heads:], p[:n])
		if r.heads += n; r.heads == headSize {
			r.heads, r.left = 0, int(binary.BigEndian.Uint16(r.head[3:]))
		}
	} else {
		n = copy(p, r.in[r.start:min(len(r.in), r.start+r.left)])
		r.left -= n
	}
	r.start += n
	if r.keeping {
		r.kept = append(r.kept, p[:n]...)
	}
	if r.start == len(r.in) {
		putBuffer(r.in)
		r.in, r.start = nil, 0
	}
	return n, nil
}

// wait returns when there are bytes to hand out.
func (r *records) wait() error {
	if r.start < len(r.in) {
		return nil
	}
	in, err := read(r.raw)
	if err != nil {
		return err
	}
	r.in, r.start = in, 0
	return nil
}

// complete is whether TLS can read another record without waiting.
func (r *records) complete() bool {
	in := r.in[r.start:]
	if r.left > 0 || r.heads > 0 || len(in) < headSize {
		return false
	}
	return len(in) >= headSize+int(binary.BigEndian.Uint16(in[3:headSize]))
}

// unread returns what was read and not handed out, and what was handed out while keeping.
func (r *records) unread() []byte {
	found := append(r.kept, r.in[r.start:]...)
	putBuffer(r.in)
	r.in, r.start, r.kept, r.keeping = nil, 0, nil, false
	return found
}

// Write sends at once, unless corked.
func (r *records) Write(p []byte) (int, error) {
	if r.deaf {
		return len(p), nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.corked {
		return r.Conn.Write(p)
	}
	if r.out == nil {
		r.out = getBuffer()[:0]
	}
	if len(r.out)+len(p) > cap(r.out) {
		if err := r.flush(); err != nil {
			return 0, err
		}
		if len(p) > bufferSize {
			return r.Conn.Write(p)
		}
		r.out = getBuffer()[:0]
	}
	r.out = append(r.out, p...)
	return len(p), nil
}

// cork keeps back what is written, up to a buffer.
func (r *records) cork() {
	r.mu.Lock()
	r.corked = true
	r.mu.Unlock()
}

// uncork sends what was kept back.
func (r *records) uncork() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.corked = false
	return r.flush()
}

func (r *records) flush() error {
	if len(r.out) == 0 {
		return nil
	}
	_, err := r.Conn.Write(r.out)
	putBuffer(r.out)
	r.out = nil
	return err
}

// read waits for bytes and returns them in a buffer of the pool, which it takes when there are some.
func read(raw syscall.RawConn) ([]byte, error) {
	var buffer []byte
	var n int
	var err error
	wait := raw.Read(func(fd uintptr) bool {
		if buffer == nil {
			buffer = getBuffer()
		}
		for {
			if n, err = unix.Read(int(fd), buffer); err != unix.EINTR {
				break
			}
		}
		if err == unix.EAGAIN {
			putBuffer(buffer)
			buffer = nil
			return false
		}
		return true
	})
	switch {
	case wait != nil:
		putBuffer(buffer)
		return nil, wait
	case err != nil || n <= 0:
		putBuffer(buffer)
		if err == nil {
			err = io.EOF
		}
		return nil, err
	}
	return buffer[:n], nil
}
