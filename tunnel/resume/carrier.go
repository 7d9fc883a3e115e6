package resume

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	headSize  = 5
	countSize = 16
	maxFrame  = 256 << 10
	maxReason = 1 << 10
	// endWait is how long a carrier may take to say that the connection is over.
	endWait = 10 * time.Second
)

// carrier carries a connection until it breaks, or another one does.
type carrier struct {
	conn  *Conn
	under io.ReadWriteCloser
	once  sync.Once

	// Guarded by the connection's lock.
	started  bool   // the peer has said how much it has
	sent     uint64 // of what is written, on this carrier
	lost     bool
	answered bool   // the peer said that the connection is over
	fault    string // of the peer
}

// Carry carries the connection, in place of what carried it before, until the carrier ends, which it closes.
func (c *Conn) Carry(under io.ReadWriteCloser) {
	k := &carrier{conn: c, under: under}
	defer k.close()
	if !c.attach(k) {
		return
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { k.send(); k.close() })
	err := k.receive()
	c.detach(k, err)
	tasks.Wait()
}

func (k *carrier) close() { k.once.Do(func() { _ = k.under.Close() }) }

// attach returns whether there is something to carry.
func (c *Conn) attach(k *carrier) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	if old := c.carrier; old != nil {
		old.lost = true
		go old.close() // a write in it may wait for the network
	}
	if c.expiry != nil {
		c.expiry.Stop()
	}
	c.carrier = k
	c.changed.Broadcast()
	if !c.served {
		c.served = true
		go c.serve(c)
	}
	return true
}

func (c *Conn) detach(k *carrier, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.lost = k.lost || k.fault == "" && !k.answered
	c.changed.Broadcast()
	if c.carrier != k {
		return
	}
	switch {
	case k.fault != "":
		c.end(k.fault)
	case k.answered:
		c.end("the client closed it")
	default:
		c.expiry = time.AfterFunc(c.hold, func() { c.expire(k, err) })
	}
}

func (c *Conn) expire(k *carrier, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.carrier == k {
		c.end(fmt.Sprintf("the client did not come back: %v", err))
	}
}

// receive returns why the carrier ended; nil if the connection is over.
func (k *carrier) receive() error {
	in := bufio.NewReaderSize(k.under, maxFrame/4)
	for {
		var head [headSize]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return err
		}
		kind, size := head[0], int(binary.BigEndian.Uint32(head[1:]))
		switch {
		case kind == 'A' && size == countSize:
			var counts [countSize]byte
			if _, err := io.ReadFull(in, counts[:]); err != nil {
				return err
			}
			k.confirm(binary.BigEndian.Uint64(counts[:]), binary.BigEndian.Uint64(counts[8:]))
		case kind == 'D' && k.hasStarted() && size <= maxFrame:
			if err := k.take(in, size); err != nil {
				return err
			}
		case kind == 'E' && k.hasStarted() && size == 0:
			k.note(func(c *Conn) { c.inEOF = true })
		case kind == 'C' && size <= maxReason:
			k.note(func(*Conn) { k.answered = true })
			return nil
		default:
			k.breaks(fmt.Sprintf("frame %q of %d bytes", kind, size))
		}
		if k.isOver() {
			return nil
		}
	}
}

func (k *carrier) note(change func(*Conn)) {
	k.conn.mu.Lock()
	defer k.conn.mu.Unlock()
	if !k.lost {
		change(k.conn)
		k.conn.changed.Broadcast()
	}
}

func (k *carrier) hasStarted() bool {
	k.conn.mu.Lock()
	defer k.conn.mu.Unlock()
	return k.started
}

func (k *carrier) isOver() bool {
	k.conn.mu.Lock()
	defer k.conn.mu.Unlock()
	return k.lost || k.fault != ""
}

// breaks notes that the peer broke the protocol.
func (k *carrier) breaks(why string) {
	k.note(func(*Conn) { k.fault = "the client broke the protocol: " + why })
}

// confirm takes the numbers of bytes that the peer has, and that its user has read.
func (k *carrier) confirm(count, taken uint64) {
	k.conn.mu.Lock()
	defer k.conn.mu.Unlock()
	c := k.conn
	if k.lost || c.ended {
		return
	}
	most := c.high
	if k.started {
		most = k.sent
	}
	if count < c.base || count > most || taken < c.taken || taken > count {
		k.fault = fmt.Sprintf("the client broke the protocol: it has %d bytes, of %d to %d, and read %d, after %d",
			count, c.base, most, taken, c.taken)
	} else {
		c.taken = taken
		c.out.drop(int(count - c.base))
		c.base = count
		if !k.started {
			k.started, k.sent = true, count
		}
	}
	c.changed.Broadcast()
}

// take receives a body. What arrived of it counts, also if the rest does not come.
func (k *carrier) take(in *bufio.Reader, size int) error {
	for size > 0 {
		if _, err := in.Peek(1); err != nil {
			return err
		}
		piece, err := in.Peek(min(size, in.Buffered()))
		if err != nil {
			return err
		}
		if !k.keep(piece) {
			return io.ErrClosedPipe
		}
		size -= len(piece)
		_, _ = in.Discard(len(piece))
	}
	return nil
}

// keep stores bytes for Read; false once the carrier is not the present one, or if the peer sent too many.
func (k *carrier) keep(piece []byte) bool {
	c := k.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.lost || c.ended {
		return false
	}
	if !c.closed && c.in.push(piece, window) < len(piece) {
		k.fault = fmt.Sprintf("the client broke the protocol: it sent more than %d bytes that were not read", window)
		return false
	}
	c.received += uint64(len(piece))
	c.changed.Broadcast()
	return true
}

// send sends frames until the carrier is lost or has said that the connection is over.
func (k *carrier) send() {
	for first := true; ; first = false {
		frame, last := k.next(first)
		if frame == nil {
			return
		}
		_, err := k.under.Write(*frame)
		frames.Put(frame)
		if err != nil {
			return
		}
		if last {
			k.linger()
			return
		}
	}
}

// linger waits for the peer's answer.
func (k *carrier) linger() {
	timer := time.AfterFunc(endWait, k.close)
	defer timer.Stop()
	k.conn.mu.Lock()
	defer k.conn.mu.Unlock()
	for !k.lost && !k.answered && k.fault == "" && !k.conn.ended {
		k.conn.changed.Wait()
	}
}

// frames are for sending; an idle connection has none.
var frames = sync.Pool{New: func() any { return new(make([]byte, 0, maxFrame)) }}

// next waits for something to send, and returns it as frames; nil once the carrier is lost. last: the connection is over.
func (k *carrier) next(first bool) (frame *[]byte, last bool) {
	c := k.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for !k.lost {
		confirms := first || c.read()-c.confirmed >= confirmEvery
		has := k.started && k.sent < c.base+uint64(c.out.size)
		may := has && k.sent < c.taken+window
		over := k.fault != "" || k.answered || c.ended || k.started && c.closed && !has
		if !confirms && !may && !over {
			c.changed.Wait()
			continue
		}
		frame = frames.Get().(*[]byte)
		into := (*frame)[:0]
		if confirms {
			into = binary.BigEndian.AppendUint64(appendHead(into, 'A', countSize), c.received)
			into = binary.BigEndian.AppendUint64(into, c.read())
			c.confirmed = c.read()
		}
		switch {
		case over:
			into = append(appendHead(into, 'C', len(k.fault)), k.fault...)
		case may:
			into = k.data(into)
		}
		*frame = into
		return frame, over
	}
	return nil, false
}

func (k *carrier) data(into []byte) []byte {
	c := k.conn
	after := int(k.sent - c.base)
	n := min(c.out.size-after, maxFrame-len(into)-headSize, int(c.taken+window-k.sent))
	into = appendHead(into, 'D', n)
	into = into[:len(into)+n]
	c.out.peek(after, into[len(into)-n:])
	k.sent += uint64(n)
	c.high = max(c.high, k.sent)
	return into
}

func appendHead(into []byte, kind byte, size int) []byte {
	return binary.BigEndian.AppendUint32(append(into, kind), uint32(size))
}
