package relay

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// peer is the far end of one connection of a pair.
type peer struct {
	t        *testing.T
	conn     net.Conn
	open     opener
	seal     sealer
	recv     uint32
	sent     uint32
	received []byte
}

func (p *peer) encode(payload []byte) []byte {
	slot := make([]byte, 1+len(payload)+room)
	copy(slot[1:], payload)
	made := p.seal.seal(p.sent, nil, slot, len(payload))
	p.sent++
	return made
}

func (p *peer) send(payload []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(p.encode(payload)); err != nil {
		p.t.Fatal(err)
	}
}

// next returns the next payload, or nil at the end of the stream.
func (p *peer) next() []byte {
	p.t.Helper()
	for {
		if len(p.received) >= p.open.head() {
			size := lengthSize + int(p.open.length(p.recv, p.received)) + p.open.overhead()
			if len(p.received) >= size {
				body, err := p.open.open(p.recv, p.received[:size])
				if err != nil {
					p.t.Fatal(err)
				}
				p.recv++
				p.received = p.received[size:]
				return body[1 : len(body)-int(body[0])]
			}
		}
		piece := make([]byte, 64<<10)
		_ = p.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := p.conn.Read(piece)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			p.t.Fatal(err)
		}
		p.received = append(p.received, piece[:n]...)
	}
}

// maker is the gateway's process.
type maker struct {
	t        *testing.T
	conn     net.Conn
	packets  chan []byte // side, sequence number and payload
	lost     chan []byte // side, cause and text
	due      chan byte
	counts   chan [2]uint64
	finished chan error
}

func (m *maker) say(kind, index byte, body []byte) {
	m.t.Helper()
	message := append(binary.BigEndian.AppendUint32(nil, uint32(2+len(body))), kind, index)
	if _, err := m.conn.Write(append(message, body...)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *maker) sayJSON(kind, index byte, value any) {
	m.t.Helper()
	body, err := json.Marshal(value)
	if err != nil {
		m.t.Fatal(err)
	}
	m.say(kind, index, body)
}

func (m *maker) listen() {
	for {
		var head [6]byte
		if _, err := io.ReadFull(m.conn, head[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[:4])-2)
		if _, err := io.ReadFull(m.conn, body); err != nil {
			return
		}
		switch head[4] {
		case kindPacket:
			m.packets <- append([]byte{head[5]}, body...)
		case kindLost:
			m.lost <- append([]byte{head[5]}, body...)
		case kindDue:
			m.due <- head[5]
		case kindCounts:
			select {
			case <-m.counts:
			default:
			}
			m.counts <- [2]uint64{binary.BigEndian.Uint64(body), binary.BigEndian.Uint64(body[8:])}
		}
	}
}

func within[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(5 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func must[T any](made T, err error) T {
	if err != nil {
		panic(err)
	}
	return made
}

func socketPair() (*os.File, net.Conn) {
	fds := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	_ = unix.SetNonblock(fds[0], true)
	far := os.NewFile(uintptr(fds[1]), "far")
	conn := must(net.FileConn(far))
	_ = far.Close()
	return os.NewFile(uintptr(fds[0]), "near"), conn
}

// someKeys are those of a direction; each number is another one.
func someKeys(number byte) keys {
	if number%2 == 0 {
		return keys{Cipher: "aes256-gcm@openssh.com", Key: counting(32, number), IV: counting(12, number)}
	}
	return keys{Cipher: "chacha20-poly1305@openssh.com", Key: counting(64, number)}
}

func codecOf(k keys) both { return must(k.codec()) }

// aPair is a running pair: its maker, the client, and the agent.
func aPair(t *testing.T, change func(*start)) (*maker, *peer, *peer) {
	t.Helper()
	control, controlConn := socketPair()
	client, clientConn := socketPair()
	agent, agentConn := socketPair()
	first := start{Sides: [2]state{
		{Recv: someKeys(0), Send: someKeys(1), RecvSeq: 5, SendSeq: 6, Strict: true, Limit: 256 << 10, RekeyBytes: 1 << 30},
		{Recv: someKeys(2), Send: someKeys(3), RecvSeq: 7, SendSeq: 8, Strict: true, Limit: 256 << 10, RekeyBytes: 1 << 30},
	}}
	peers := [2]*peer{{t: t, conn: clientConn}, {t: t, conn: agentConn}}
	if change != nil {
		change(&first)
	}
	for i, p := range peers {
		s := first.Sides[i]
		p.open, p.seal, p.recv, p.sent = codecOf(s.Send), codecOf(s.Recv), s.SendSeq, s.RecvSeq
	}
	m := &maker{
		t: t, conn: controlConn, packets: make(chan []byte, 64), lost: make(chan []byte, 2), due: make(chan byte, 8),
		counts: make(chan [2]uint64, 1), finished: make(chan error, 1),
	}
	go m.listen()
	go func() { m.finished <- run(control, client, agent) }()
	m.sayJSON(kindStart, 0, first)
	t.Cleanup(func() {
		_ = controlConn.Close()
		_ = clientConn.Close()
		_ = agentConn.Close()
		within(t, m.finished)
	})
	return m, peers[0], peers[1]
}

func data(size int) []byte { return append([]byte{94}, bytes.Repeat([]byte{'x'}, size)...) }

func expect(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("got %.40x… (%d), want %.40x… (%d)", got, len(got), want, len(want))
	}
}
