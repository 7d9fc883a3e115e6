package relay

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The numbers of SSH messages that are handled here.
const (
	msgDisconnect    = 1
	msgIgnore        = 2
	msgUnimplemented = 3
	msgDebug         = 4
	msgKexInit       = 20
	msgNewKeys       = 21
	firstPassed      = 80 // this and all above go to the other side
)

const (
	// highWater is how many bytes may wait to be sent before the other side is not read any more.
	highWater = 256 << 10
	// unpacedLimit bounds what waits while a side that exchanges keys is read all the same, see pass.
	unpacedLimit = 16 << 20
	// parting is how long a side that is given up may take to send what waits.
	parting = 500 * time.Millisecond
)

var errUnpaced = errors.New("too much data during a key exchange")

// side is one of the two SSH connections of a pair. Its reader (receive.go) decrypts, and passes messages to the other side,
// which encrypts them; what its socket does not take at once is sent by a goroutine of its own.
type side struct {
	pair   *pair
	index  byte
	file   *os.File
	raw    rawConn
	other  *side
	skips  []byte // messages that begin with this are not passed
	strict bool   // sequence numbers begin at 0 after each key exchange
	limit  uint32 // longest packet to be received

	recvSeq uint32
	open    opener
	newKeys chan opener // for the reader, which waits after a NEWKEYS
	passed  atomic.Uint64

	discard atomic.Bool // input is read and dropped
	// exchanging is whether a KEXINIT was sent, and no NEWKEYS since. Meanwhile messages for this side are held, and it is
	// read whatever the other one does.
	exchanging atomic.Bool

	mu      sync.Mutex
	room    *sync.Cond // signals that pass may go on
	sealer  sealer
	sendSeq uint32
	out     []byte   // encrypted, to be sent
	sending int      // bytes that the sender goroutine has of it
	held    [][]byte // slots, in order
	holds   int      // bytes of them
	ending  bool     // nothing more is passed
	gone    bool     // nothing more can be sent
	rekey   rekey
}

// rekey says when new keys are due.
type rekey struct {
	bytes  uint64
	after  time.Duration
	sent   uint64 // since the last key exchange
	since  time.Time
	warned bool
}

func (r *rekey) due() bool {
	if r.warned || r.sent < r.bytes && (r.after <= 0 || time.Since(r.since) < r.after) {
		return false
	}
	r.warned = true
	return true
}

// pass sends a message of the other side. It waits while this side cannot send, unless the other one exchanges keys: its
// peer's messages of the exchange have to be read, or two exchanges at once would wait for each other forever.
func (s *side) pass(slot []byte, payload int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.stuck() && !s.ending && !s.gone && !s.other.exchanging.Load() {
		s.push()
		if !s.stuck() {
			break
		}
		s.room.Wait()
	}
	if s.ending || s.gone {
		return nil
	}
	if s.holds+len(s.out)+s.sending > unpacedLimit {
		return errUnpaced
	}
	if s.exchanging.Load() {
		kept := make([]byte, 1+payload+room)
		copy(kept, slot[:1+payload])
		s.held = append(s.held, kept)
		s.holds += len(kept)
		return nil
	}
	s.seal(slot, payload)
	return nil
}

func (s *side) stuck() bool { return s.exchanging.Load() || len(s.out)+s.sending >= highWater }

func (s *side) seal(slot []byte, payload int) {
	if s.out == nil {
		s.out = getBuffer()
	}
	before := len(s.out)
	s.out = s.sealer.seal(s.sendSeq, s.out, slot, payload)
	s.sendSeq++
	s.rekey.sent += uint64(len(s.out) - before)
}

// say sends a message of this side's own, such as those of a key exchange. It never waits.
func (s *side) say(payload []byte) error {
	s.mu.Lock()
	if s.gone || len(payload) == 0 {
		s.mu.Unlock()
		return nil
	}
	if len(s.out)+s.sending > unpacedLimit {
		s.mu.Unlock()
		return errUnpaced
	}
	slot := make([]byte, 1+len(payload)+room)
	copy(slot[1:], payload)
	s.seal(slot, len(payload))
	begins := payload[0] == msgKexInit
	if begins {
		s.exchanging.Store(true)
		s.rekey.sent, s.rekey.since = 0, time.Now()
	}
	if payload[0] == msgNewKeys && s.strict {
		s.sendSeq = 0
	}
	s.push()
	s.mu.Unlock()
	if begins {
		s.other.wake()
	}
	return nil
}

// wake lets a pass on this side look again.
func (s *side) wake() {
	s.mu.Lock()
	s.room.Broadcast()
	s.mu.Unlock()
}

// sendWith uses new keys, after this side's NEWKEYS was said, and sends what was held.
func (s *side) sendWith(made sealer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealer = made
	s.exchanging.Store(false)
	s.rekey.warned = false
	for _, slot := range s.held {
		s.seal(slot, len(slot)-1-room)
	}
	s.held, s.holds = nil, 0
	s.push()
	s.room.Broadcast()
}

// flush sends what was passed. Returns whether new keys are due.
func (s *side) flush() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.push()
	return s.rekey.due()
}

// push writes what the socket takes now, and leaves the rest to a goroutine.
func (s *side) push() {
	if s.sending > 0 || len(s.out) == 0 || s.gone {
		return
	}
	sent := 0
	err := s.raw.Control(func(fd uintptr) {
		for sent < len(s.out) {
			n, err := unix.Write(int(fd), s.out[sent:])
			if n > 0 {
				sent += n
			}
			if err == unix.EINTR {
				continue
			}
			if err != nil { // a broken connection fails the reader, too
				return
			}
		}
	})
	switch {
	case err != nil:
		s.stop()
	case sent == len(s.out):
		putBuffer(s.out)
		s.out = nil
	default:
		rest := s.out[sent:]
		whole := s.out
		s.out, s.sending = nil, len(rest)
		s.pair.tasks.Go(func() { s.send(rest, whole) })
	}
}

// send writes until nothing is left.
func (s *side) send(rest, whole []byte) {
	for {
		_, err := s.file.Write(rest)
		putBuffer(whole)
		s.mu.Lock()
		s.sending = 0
		if err != nil {
			s.stop()
		}
		rest, whole = s.out, s.out
		s.out, s.sending = nil, len(rest)
		s.room.Broadcast()
		done := len(rest) == 0
		finish := done && s.ending
		s.mu.Unlock()
		if finish {
			s.halfClose()
		}
		if done {
			return
		}
	}
}

// stop drops what cannot be sent.
func (s *side) stop() {
	s.gone = true
	putBuffer(s.out)
	s.out, s.held, s.holds = nil, nil, 0
	s.room.Broadcast()
}

// end half-closes the side once everything was sent, and drops its further input.
func (s *side) end() {
	s.discard.Store(true)
	s.mu.Lock()
	s.ending = true
	s.push()
	now := s.sending == 0 && !s.gone
	s.room.Broadcast()
	s.mu.Unlock()
	s.other.wake()
	s.release()
	if now {
		s.halfClose()
	}
}

func (s *side) halfClose() {
	_ = s.raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) })
}

// release lets a reader go on that waits for new keys.
func (s *side) release() {
	select {
	case s.newKeys <- nil:
	default:
	}
}

// abort closes the side. What waits gets a moment, so that a reason arrives which was said just now.
func (s *side) abort() {
	s.discard.Store(true)
	s.mu.Lock()
	s.ending = true
	s.push()
	waits := s.sending > 0
	s.room.Broadcast()
	s.mu.Unlock()
	s.other.wake()
	s.release()
	if waits {
		_ = s.file.SetDeadline(time.Now().Add(parting))
		time.AfterFunc(parting, func() { _ = s.file.Close() })
		return
	}
	_ = s.file.Close()
}
