// Package udp relays datagrams between a client and ports of the session, as frames on standard input and output. The agent
// runs it as a child with the login's rights, as the subsystem udp@netvps.
//
// A frame is a flow, a port and a length, big-endian (4, 2 and 2 bytes), then the datagram. The client numbers its flows:
// each is one peer on its side, and one socket on this one.
package udp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	header   = 8
	maxData  = 1<<16 - 1
	maxFlows = 1024
	queued   = 1024 // datagrams for the client; beyond it the oldest is dropped, as a full socket buffer drops some
)

// idle is how long a flow lasts without a datagram.
var idle = 60 * time.Second

// Serve relays until the client disconnects.
func Serve() error { return serve(os.Stdin, os.Stdout) }

type relay struct {
	out   chan []byte
	mu    sync.Mutex
	flows map[uint32]*net.UDPConn
}

func serve(in io.Reader, out io.Writer) error {
	r := &relay{out: make(chan []byte, queued), flows: map[uint32]*net.UDPConn{}}
	ended := make(chan struct{})
	go r.write(out, ended)
	err := r.read(bufio.NewReaderSize(in, 1<<18))
	close(ended)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.flows {
		_ = conn.Close()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// read sends what the client sends, in order.
func (r *relay) read(in io.Reader) error {
	var head [header]byte
	data := make([]byte, maxData)
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return err
		}
		flow, port := binary.BigEndian.Uint32(head[:]), binary.BigEndian.Uint16(head[4:])
		datagram := data[:binary.BigEndian.Uint16(head[6:])]
		if _, err := io.ReadFull(in, datagram); err != nil {
			return err
		}
		conn := r.conn(flow, port)
		if conn == nil {
			continue
		}
		_ = conn.SetReadDeadline(time.Now().Add(idle))
		_, _ = conn.Write(datagram) // what is not delivered is lost, as datagrams are
	}
}

// conn returns the socket of a flow; nil if there cannot be one.
func (r *relay) conn(flow uint32, port uint16) *net.UDPConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	if conn := r.flows[flow]; conn != nil || len(r.flows) >= maxFlows {
		return conn
	}
	conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
	if err != nil {
		return nil
	}
	r.flows[flow] = conn
	go r.answers(flow, port, conn)
	return conn
}

// answers passes on what comes back until the flow is idle. A port that refuses datagrams may open later.
func (r *relay) answers(flow uint32, port uint16, conn *net.UDPConn) {
	buffer := make([]byte, maxData)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(idle))
		size, err := conn.Read(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil {
			continue
		}
		frame := make([]byte, header+size)
		binary.BigEndian.PutUint32(frame, flow)
		binary.BigEndian.PutUint16(frame[4:], port)
		binary.BigEndian.PutUint16(frame[6:], uint16(size))
		copy(frame[header:], buffer[:size])
		r.enqueue(frame)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = conn.Close()
	delete(r.flows, flow)
}

func (r *relay) enqueue(frame []byte) {
	for {
		select {
		case r.out <- frame:
			return
		default:
		}
		select {
		case <-r.out:
		default:
		}
	}
}

func (r *relay) write(out io.Writer, ended <-chan struct{}) {
	for {
		select {
		case frame := <-r.out:
			if _, err := out.Write(frame); err != nil {
				return
			}
		case <-ended:
			return
		}
	}
}
