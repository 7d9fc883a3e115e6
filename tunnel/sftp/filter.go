package sftp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"netvps/tunnel/passwd"
)

// Packet types of draft-ietf-secsh-filexfer-02, 3.
const (
	typeVersion  = 2
	typeMkdir    = 14
	typeRealpath = 16
	typeRename   = 18
	typeStatus   = 101
	typeName     = 104
	typeExtended = 200
	typeReply    = 201
)

const (
	headerSize = 5 // length (4), type (1)
	// maxRequest is that of OpenSSH's sftp-server (SFTP_MAX_MSG_LENGTH).
	maxRequest = 256 << 10
)

var errTooLong = errors.New("an sftp request longer than 256 KiB")

// filter stands between a client and pkg/sftp, and adds what that does differently from OpenSSH's sftp-server:
//
//   - expand-path@openssh.com (scp and sftp with "~"), lsetstat@openssh.com, limits@openssh.com, home-directory
//   - realpath that resolves symbolic links, mkdir with the mode that was asked for, rename that replaces nothing
//
// A request that is answered here waits for the answers to those before it: the client determines the order of effects.
type filter struct {
	in     io.Reader
	out    io.WriteCloser
	answer func(own) []byte

	pending []byte // of the request that is being read: to hand out before more of in
	rest    int    // bytes of it that are still in `in`

	mu       sync.Mutex
	answered *sync.Cond
	open     int    // requests passed on and not answered yet
	response []byte // until it is whole
}

func newFilter(in io.Reader, out io.WriteCloser, users passwd.Database) *filter {
	f := &filter{in: in, out: out, answer: func(request own) []byte { return request.answer(users) }}
	f.answered = sync.NewCond(&f.mu)
	return f
}

// Read returns the requests for pkg/sftp.
func (f *filter) Read(p []byte) (int, error) {
	for len(f.pending) == 0 && f.rest == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	if len(f.pending) > 0 {
		n := copy(p, f.pending)
		f.pending = f.pending[n:]
		return n, nil
	}
	n, err := f.in.Read(p[:min(len(p), f.rest)])
	f.rest -= n
	if err == io.EOF && f.rest > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next handles a request: passes it on as it arrives, or answers it.
func (f *filter) next() error {
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(f.in, header); err != nil {
		return err
	}
	length := int(binary.BigEndian.Uint32(header))
	if length < 1 || length > maxRequest {
		return fmt.Errorf("%w: %d bytes", errTooLong, length)
	}
	switch header[4] {
	case typeMkdir, typeRealpath, typeRename, typeExtended:
		body := make([]byte, length-1)
		if _, err := io.ReadFull(f.in, body); err != nil {
			return err
		}
		if request, ok := parseOwn(header[4], body); ok {
			return f.take(request)
		}
		f.pending = append(header, body...)
	default:
		f.pending, f.rest = header, length-1
	}
	f.passOn()
	return nil
}

// take answers a request.
func (f *filter) take(request own) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.open > 0 {
		f.answered.Wait()
	}
	_, err := f.out.Write(f.answer(request))
	return err
}

func (f *filter) passOn() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open++
}

// Write takes the responses of pkg/sftp, in any pieces, and writes each as a whole.
func (f *filter) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.response = append(f.response, p...)
	for len(f.response) >= headerSize {
		end := 4 + int(binary.BigEndian.Uint32(f.response))
		if len(f.response) < end {
			break
		}
		whole, rest := f.response[:end], f.response[end:]
		if whole[4] == typeVersion {
			whole = withExtensions(whole)
		}
		if _, err := f.out.Write(whole); err != nil {
			return 0, err
		}
		f.response = append(f.response[:0], rest...)
		f.open--
		f.answered.Broadcast()
	}
	return len(p), nil
}

// Close is pkg/sftp's answer to a client that it cannot understand.
func (f *filter) Close() error { return f.out.Close() }
