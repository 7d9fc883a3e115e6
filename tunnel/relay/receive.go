package relay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// bufferSize is what a side reads at once; a packet of the greatest length fits, too.
const bufferSize = 320 << 10

// reportEvery is the interval at which numbers of passed bytes are reported.
const reportEvery = time.Second

// Idle connections have no buffers.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, bufferSize); return &b }}

func getBuffer() []byte { return (*buffers.Get().(*[]byte))[:0] }

func putBuffer(b []byte) {
	if cap(b) == bufferSize {
		b = b[:0]
		buffers.Put(&b)
	}
}

type rawConn interface {
	Control(func(fd uintptr)) error
	Read(func(fd uintptr) bool) error
}

// violation is a packet that ends the connection.
type violation struct {
	cause byte
	text  string
}

func (v violation) Error() string { return v.text }

// receive reads the side to its end, and reports that; `in` was read before.
func (s *side) receive(in []byte) {
	b := buffer{bytes: in}
	err := s.readAll(&b)
	b.free()
	s.other.flush()
	s.pair.lost(s, err)
}

func (s *side) readAll(b *buffer) error {
	for {
		if err := s.handle(b); err != nil {
			return err
		}
		s.settle()
		if err := b.read(s.raw); err != nil {
			return err
		}
	}
}

// settle sends what was passed, and reports what is to be reported.
func (s *side) settle() {
	if s.other.flush() {
		s.pair.control.rekeyDue(s.other.index)
	}
	s.pair.count(false)
}

// buffer is what was read, from start on; an idle one has no memory.
type buffer struct {
	bytes []byte
	start int
}

func (b *buffer) free() {
	putBuffer(b.bytes)
	b.bytes, b.start = nil, 0
}

// read waits for input, and reads at least half a buffer if there is as much.
func (b *buffer) read(raw rawConn) error {
	switch {
	case b.start == len(b.bytes):
		b.free()
	case b.start > 0 || cap(b.bytes) != bufferSize:
		rest := b.bytes[b.start:]
		if cap(b.bytes) == bufferSize {
			copy(b.bytes, rest)
			b.bytes, b.start = b.bytes[:len(rest)], 0
		} else if len(rest) <= bufferSize/2 { // it began with a larger one
			b.bytes, b.start = append(getBuffer(), rest...), 0
		} else {
			b.bytes, b.start = append(make([]byte, 0, len(rest)+bufferSize), rest...), 0
		}
	}
	var n int
	var err error
	wait := raw.Read(func(fd uintptr) bool {
		if b.bytes == nil {
			b.bytes = getBuffer()
		}
		for {
			n, err = unix.Read(int(fd), b.bytes[len(b.bytes):cap(b.bytes)])
			if err != unix.EINTR {
				break
			}
		}
		if err != unix.EAGAIN {
			return true
		}
		if len(b.bytes) == 0 {
			b.free()
		}
		return false
	})
	switch {
	case wait != nil:
		return wait
	case err != nil:
		return os.NewSyscallError("read", err)
	case n == 0:
		return io.EOF
	}
	b.bytes = b.bytes[:len(b.bytes)+n]
	return nil
}

// handle handles the complete packets of a buffer.
func (s *side) handle(b *buffer) error {
	for {
		if s.discard.Load() {
			b.start = len(b.bytes)
			return nil
		}
		in := b.bytes[b.start:]
		if len(in) < s.open.head() {
			return nil
		}
		length := s.open.length(s.recvSeq, in)
		if length > s.limit {
			return violation{protocolError, "Max packet size exceeded"}
		}
		size := lengthSize + int(length) + s.open.overhead()
		if size < s.open.head() {
			return violation{protocolError, "Packet too short"}
		}
		if len(in) < size {
			return nil
		}
		seq := s.recvSeq
		body, err := s.open.open(seq, in[:size])
		if err != nil {
			return violation{macError, err.Error()}
		}
		s.recvSeq++
		if len(body) < 2 || int(body[0]) < minPadding || int(body[0])+2 > len(body) {
			return violation{protocolError, "Invalid padding"}
		}
		// A slot: the payload between a byte and at least room bytes, which are read already.
		if err := s.message(seq, body, len(body)-1-int(body[0]), in[:size]); err != nil {
			return err
		}
		b.start += size
	}
}

func (s *side) message(seq uint32, body []byte, size int, packet []byte) error {
	payload := body[1 : 1+size]
	switch kind := payload[0]; {
	case kind >= firstPassed:
		if len(s.skips) > 0 && bytes.HasPrefix(payload, s.skips) {
			return nil
		}
		s.passed.Add(uint64(size))
		if err := s.other.pass(slotOf(body, packet, size), size); err != nil {
			return violation{protocolError, err.Error()}
		}
	case kind == msgIgnore, kind == msgUnimplemented, kind == msgDebug: // without a meaning for a gateway
	default:
		s.settle() // in order: what came before is on its way
		if kind == msgDisconnect {
			s.pair.count(true)
		}
		if err := s.pair.control.packet(s.index, seq, payload); err != nil {
			return err
		}
		if kind == msgNewKeys {
			return s.awaitKeys()
		}
	}
	return nil
}

// slotOf returns the message with room behind it: in place where its padding and its tag are long enough.
func slotOf(body, packet []byte, size int) []byte {
	start := cap(packet) - cap(body)
	if start >= 0 && len(packet)-start >= 1+size+minPadding+16 {
		return packet[start:]
	}
	slot := make([]byte, 1+size+room)
	copy(slot[1:], body[1:1+size])
	return slot
}

func (s *side) awaitKeys() error {
	if s.open = <-s.newKeys; s.open == nil {
		s.open = noKeys{}
		return nil
	}
	if s.strict {
		s.recvSeq = 0
	}
	return nil
}

// noKeys is the opener of a side that ends: it needs more than comes.
type noKeys struct{}

func (noKeys) head() int                           { return 1 << 30 }
func (noKeys) length(uint32, []byte) uint32        { return 0 }
func (noKeys) overhead() int                       { return 0 }
func (noKeys) open(uint32, []byte) ([]byte, error) { return nil, errTag }

// cause and text of the end of a side, for the process that made the pair.
func explain(err error) (byte, string) {
	var wrong violation
	switch {
	case err == io.EOF:
		return endOfFile, ""
	case errors.As(err, &wrong):
		return wrong.cause, wrong.text
	default:
		var call *os.SyscallError
		if errors.As(err, &call) {
			return connectionError, call.Err.Error()
		}
		return connectionError, fmt.Sprint(err)
	}
}
