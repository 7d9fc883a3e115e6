package udp

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

func frame(flow uint32, port uint16, data string) []byte {
	made := make([]byte, header, header+len(data))
	binary.BigEndian.PutUint32(made, flow)
	binary.BigEndian.PutUint16(made[4:], port)
	binary.BigEndian.PutUint16(made[6:], uint16(len(data)))
	return append(made, data...)
}

// echo answers each datagram with the address that it came from, and the datagram.
func echo(t *testing.T) uint16 {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, maxData)
		for {
			size, from, err := conn.ReadFromUDP(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDP(append([]byte(from.String()+" "), buffer[:size]...), from)
		}
	}()
	return uint16(conn.LocalAddr().(*net.UDPAddr).Port)
}

type client struct {
	*testing.T
	in  io.WriteCloser
	out io.Reader
	end chan error
}

func start(t *testing.T) *client {
	in, toRelay := io.Pipe()
	fromRelay, out := io.Pipe()
	c := &client{t, toRelay, fromRelay, make(chan error, 1)}
	go func() { c.end <- serve(in, out) }()
	return c
}

func (c *client) send(flow uint32, port uint16, data string) {
	if _, err := c.in.Write(frame(flow, port, data)); err != nil {
		c.Fatal(err)
	}
}

func (c *client) receive() (flow uint32, data string) {
	var head [header]byte
	if _, err := io.ReadFull(c.out, head[:]); err != nil {
		c.Fatal(err)
	}
	datagram := make([]byte, binary.BigEndian.Uint16(head[6:]))
	if _, err := io.ReadFull(c.out, datagram); err != nil {
		c.Fatal(err)
	}
	return binary.BigEndian.Uint32(head[:]), string(datagram)
}

func TestEachFlowHasASocketOfItsOwn(t *testing.T) {
	c, port := start(t), echo(t)
	sources := map[uint32]string{}
	for _, flow := range []uint32{7, 9, 7, 9} {
		c.send(flow, port, "hello")
		got, data := c.receive()
		source := data[:len(data)-len(" hello")]
		if got != flow || data != source+" hello" || (sources[flow] != "" && sources[flow] != source) {
			t.Fatalf("flow %d: %d, %q, before from %q", flow, got, data, sources[flow])
		}
		sources[flow] = source
	}
	if sources[7] == sources[9] {
		t.Fatalf("both flows come from %s", sources[7])
	}
	_ = c.in.Close()
	if err := <-c.end; err != nil {
		t.Fatal(err)
	}
}

func TestAnEmptyDatagramAndTheLargestPass(t *testing.T) {
	c := start(t)
	port := echo(t)
	c.send(1, port, "")
	if _, data := c.receive(); data[len(data)-1] != ' ' {
		t.Fatalf("got %q", data)
	}
	large := string(make([]byte, 60000))
	c.send(1, port, large)
	if _, data := c.receive(); len(data) < len(large) {
		t.Fatalf("got %d bytes", len(data))
	}
}

func TestAPortWhereNothingListensDoesNotEndOthers(t *testing.T) {
	c, port := start(t), echo(t)
	closed, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	c.send(1, uint16(closed.LocalAddr().(*net.UDPAddr).Port), "lost")
	c.send(2, port, "hello")
	if flow, _ := c.receive(); flow != 2 {
		t.Fatalf("got an answer for flow %d", flow)
	}
}

func TestIdleFlowsEndAndFlowsAreLimited(t *testing.T) {
	idle = 20 * time.Millisecond
	t.Cleanup(func() { idle = 60 * time.Second })
	r := &relay{out: make(chan []byte, queued), flows: map[uint32]*net.UDPConn{}}
	port := echo(t)
	for flow := range uint32(maxFlows) {
		r.flows[flow] = &net.UDPConn{}
	}
	if r.conn(maxFlows, port) != nil {
		t.Fatal("more flows than the limit")
	}
	clear(r.flows)
	if r.conn(1, port) == nil {
		t.Fatal("no flow")
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		r.mu.Lock()
		left := len(r.flows)
		r.mu.Unlock()
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the flow is still there")
		}
	}
}

func TestTheOldestIsDroppedWhereTheClientDoesNotRead(t *testing.T) {
	r := &relay{out: make(chan []byte, 2)}
	for _, data := range []string{"a", "b", "c"} {
		r.enqueue([]byte(data))
	}
	if first, second := string(<-r.out), string(<-r.out); first != "b" || second != "c" {
		t.Fatalf("got %s, %s", first, second)
	}
}
