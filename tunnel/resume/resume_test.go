package resume

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// client is the other end, with one carrier at a time.
type client struct {
	*testing.T
	registry *Registry
	key, id  []byte
	number   uint64

	data     []byte // to be sent
	got      []byte
	finished bool // the agent said that it is over
	reason   string
}

func newClient(t *testing.T, registry *Registry) *client {
	registry.Log = slog.New(slog.DiscardHandler)
	random := make([]byte, idSize+keySize)
	_, _ = rand.Read(random)
	return &client{T: t, registry: registry, id: random[:idSize], key: random[idSize:]}
}

func (c *client) attachment() []byte {
	if c.number == 0 {
		c.number = 1
		return append(append([]byte{opening}, c.id...), c.key...)
	}
	begin := binary.BigEndian.AppendUint64(append([]byte{resuming}, c.id...), c.number)
	c.number++
	return append(begin, proof(c.key, begin)...)
}

// carry attaches, and returns the client's end of the carrier.
func (c *client) carry() (net.Conn, chan struct{}) {
	c.Helper()
	kept, err := c.registry.Attach("ann", c.attachment(), local)
	if err != nil {
		c.Fatal(err)
	}
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() { kept.Carry(far); close(done) }()
	c.Cleanup(func() { _ = near.Close(); <-done })
	return near, done
}

func frame(kind byte, body []byte) []byte { return append(appendHead(nil, kind, len(body)), body...) }

func count(n uint64) []byte { return counts(n, n) }

func counts(has, read uint64) []byte {
	return frame('A', binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, has), read))
}

func next(in io.Reader) (kind byte, body []byte, err error) {
	var head [headSize]byte
	if _, err = io.ReadFull(in, head[:]); err != nil {
		return 0, nil, err
	}
	body = make([]byte, binary.BigEndian.Uint32(head[1:]))
	_, err = io.ReadFull(in, body)
	return head[0], body, err
}

// session exchanges frames until the carrier breaks or all is over; the data goes out from where the agent is.
func (c *client) session(near net.Conn) {
	_, _ = near.Write(count(uint64(len(c.got))))
	in := bufio.NewReader(near)
	kind, body, err := next(in)
	if err != nil {
		return
	}
	if kind != 'A' {
		c.Fatalf("the first frame is %q", kind)
	}
	has := binary.BigEndian.Uint64(body)
	var out, sending sync.WaitGroup
	var writing sync.Mutex
	sending.Go(func() {
		for rest := c.data[has:]; ; {
			n := min(len(rest), 1+mathrand.IntN(100_000))
			message := frame('D', rest[:n])
			if n == 0 {
				message = frame('E', nil)
			}
			writing.Lock()
			_, err := near.Write(message)
			writing.Unlock()
			if err != nil || n == 0 {
				return
			}
			rest = rest[n:]
		}
	})
	defer sending.Wait()
	confirmations := make(chan uint64, 1<<16) // a pipe has no buffer: both sides may write at once
	out.Go(func() {
		for n := range confirmations {
			writing.Lock()
			_, _ = near.Write(count(n))
			writing.Unlock()
		}
	})
	defer out.Wait()
	defer close(confirmations)
	for !c.finished {
		var head [headSize]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		size := int(binary.BigEndian.Uint32(head[1:]))
		if head[0] != 'D' {
			body := make([]byte, size)
			if _, err := io.ReadFull(in, body); err != nil {
				return
			}
			if head[0] == 'C' {
				c.finished, c.reason = true, string(body)
				_, _ = near.Write(frame('C', nil))
			}
			continue
		}
		for size > 0 { // what arrives of a frame counts
			piece := make([]byte, size)
			n, err := in.Read(piece)
			c.got, size = append(c.got, piece[:n]...), size-n
			if err != nil {
				return
			}
		}
		confirmations <- uint64(len(c.got))
	}
}

// broken ends after some bytes, in mid-frame as a rule.
type broken struct {
	net.Conn
	mu   sync.Mutex
	left int
}

func (b *broken) Read(p []byte) (int, error) {
	b.mu.Lock()
	left := b.left
	b.mu.Unlock()
	if left <= 0 {
		_ = b.Close()
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.Conn.Read(p[:min(len(p), left)])
	b.mu.Lock()
	b.left -= n
	b.mu.Unlock()
	return n, err
}

func echo(conn net.Conn) {
	_, _ = io.Copy(conn, conn)
	_ = conn.Close()
}

func TestNoByteIsLostOrDoubledOverCarriersThatBreak(t *testing.T) {
	registry := &Registry{Serve: echo}
	c := newClient(t, registry)
	c.data = make([]byte, 6<<20+17)
	_, _ = rand.Read(c.data)
	carriers := 0
	for ; !c.finished && carriers < 10_000; carriers++ {
		near, done := c.carry()
		c.session(&broken{Conn: near, left: 1000 + mathrand.IntN(600_000)})
		_ = near.Close()
		<-done
	}
	if sha256.Sum256(c.got) != sha256.Sum256(c.data) || carriers < 5 {
		t.Fatalf("%d of %d bytes, over %d carriers", len(c.got), len(c.data), carriers)
	}
	if _, err := registry.Attach("ann", c.attachment(), local); !errors.Is(err, errGone) {
		t.Fatalf("a connection that is over: %v", err)
	}
}

func TestACarrierTakesThePlaceOfOneThatHangs(t *testing.T) {
	c := newClient(t, &Registry{Serve: echo})
	c.data = []byte("hello")
	first, hangs := c.carry()
	if _, _, err := next(first); err != nil { // it carries
		t.Fatal(err)
	}
	near, _ := c.carry()
	<-hangs
	c.session(near)
	if string(c.got) != "hello" || !c.finished || c.reason != "" {
		t.Fatalf("%q, %q", c.got, c.reason)
	}
}

func TestProofsCountOnceAndForTheirUserOnly(t *testing.T) {
	registry := &Registry{Serve: echo}
	c := newClient(t, registry)
	opened := c.attachment()
	kept, err := registry.Attach("ann", opened, local)
	if err != nil {
		t.Fatal(err)
	}
	first, second := c.attachment(), c.attachment()
	forged := append([]byte(nil), second...)
	forged[len(forged)-1]++
	for _, one := range []struct {
		what, user string
		attachment []byte
		want       error
	}{
		{"an opening again", "ann", opened, errUsed},
		{"a forged proof", "ann", forged, errGone},
		{"another user's", "bob", second, errGone},
		{"the later one", "ann", second, nil},
		{"a replay", "ann", second, errUsed},
		{"an earlier one", "ann", first, errUsed},
		{"a short one", "ann", second[:20], errFormat},
		{"nothing", "ann", nil, errFormat},
		{"another kind", "ann", append([]byte{7}, second[1:]...), errFormat},
	} {
		if found, err := registry.Attach(one.user, one.attachment, local); !errors.Is(err, one.want) || err == nil && found != kept {
			t.Errorf("%s: %v", one.what, err)
		}
	}
}

func TestAClientThatLiesIsToldAndEndsItsOwnConnectionOnly(t *testing.T) {
	for what, frames := range map[string][]byte{
		"has 6 bytes, of 0 to 5":      count(6),
		"has 1 bytes, of 3 to 5":      append(count(3), count(1)...),
		"read 4, after 0":             counts(3, 4),
		"read 1, after 2":             append(counts(3, 2), counts(3, 1)...),
		"it sent more than 4194304 b": append(count(0), bytes.Repeat(frame('D', make([]byte, maxFrame)), 17)...),
		"frame 'D' of 1 bytes":        frame('D', []byte("x")), // before its count
		"frame 'D' of 262145 bytes":   append(count(0), appendHead(nil, 'D', maxFrame+1)...),
		"frame 'Z' of 4294967295 byt": append(count(0), 'Z', 255, 255, 255, 255),
	} {
		served := make(chan struct{})
		c := newClient(t, &Registry{Serve: func(conn net.Conn) {
			_, _ = conn.Write([]byte("hello"))
			<-conn.(*Conn).finished()
			close(served)
		}})
		near, _ := c.carry()
		heard := make(chan struct{})
		go func() {
			if strings.Contains(what, "to 5") || strings.Contains(what, "after") {
				_, _ = near.Write(count(0))
				<-heard // what the agent has sent
			}
			_, _ = near.Write(frames)
		}()
		reason := ""
		for {
			kind, body, err := next(near)
			if err != nil {
				break
			}
			if kind == 'D' {
				close(heard)
			}
			if kind == 'C' {
				reason = string(body)
			}
		}
		if !strings.Contains(reason, what) {
			t.Errorf("said %q, not %q", reason, what)
		}
		<-served
	}
}

func TestWhatIsNotConfirmedIsBounded(t *testing.T) {
	written := make(chan int, 1)
	c := newClient(t, &Registry{Serve: func(conn net.Conn) {
		total := 0
		for {
			n, err := conn.Write(make([]byte, 1<<20))
			total += n
			if err != nil {
				written <- total
				return
			}
		}
	}})
	near, _ := c.carry()
	go func() { _, _ = near.Write(count(0)) }()
	for got := 0; got < window; {
		kind, body, err := next(near)
		if err != nil {
			t.Fatal(err)
		}
		if kind == 'D' {
			got += len(body)
		}
	}
	go func() { _, _ = near.Write(frame('C', nil)) }()
	_, _ = io.Copy(io.Discard, near)
	if total := <-written; total != window {
		t.Fatalf("%d bytes were taken", total)
	}
}

func TestAConnectionThatNothingCarriesEnds(t *testing.T) {
	ended := make(chan error, 1)
	registry := &Registry{Hold: time.Millisecond, Serve: func(conn net.Conn) {
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	}}
	c := newClient(t, registry)
	near, done := c.carry()
	_ = near.Close()
	<-done
	if err := <-ended; err != io.EOF {
		t.Fatal(err)
	}
	dropped, err := registry.Attach("bob", newClient(t, registry).attachment(), local)
	if err != nil {
		t.Fatal(err)
	}
	dropped.Drop()
	registry.Serve = nil // nothing is served
	near, far := net.Pipe()
	defer func() { _ = near.Close() }()
	dropped.Carry(far)
}

func TestConnectionsOfASessionAreBounded(t *testing.T) {
	registry := &Registry{Serve: echo}
	for range maxConns {
		if _, err := registry.Attach("ann", newClient(t, registry).attachment(), local); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := registry.Attach("ann", newClient(t, registry).attachment(), local); !errors.Is(err, errTooMany) {
		t.Fatal(err)
	}
}

// finished is closed once the connection has ended.
func (c *Conn) finished() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for !c.ended {
			c.changed.Wait()
		}
		close(done)
	}()
	return done
}

func FuzzRing(f *testing.F) {
	f.Add([]byte{200, 10, 3, 255, 255, 100})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var made ring
		var model []byte
		for i, step := range steps {
			if i%2 == 0 {
				piece := bytes.Repeat([]byte{step}, int(step)*15000)
				model = append(model, piece[:made.push(piece, window)]...)
			} else {
				n := min(int(step)*10000, made.size)
				made.drop(n)
				model = model[n:]
			}
			after := min(int(step), made.size)
			got := make([]byte, made.size-after)
			if made.peek(after, got) != len(got) || !bytes.Equal(got, model[after:]) {
				t.Fatalf("step %d: %d bytes differ", i, len(got))
			}
		}
	})
}
