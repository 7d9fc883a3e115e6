package gatewaytest

import (
	"net"
	"sync"

	"netvps/tunnel/api"
)

// joint is a Stream joined to a TCP connection, as a gateway joins it to a client.
type joint struct {
	stream *Stream
	tcp    *net.TCPConn

	mu     sync.Mutex // of what follows, and of sending
	ready  *sync.Cond
	credit int
	over   bool
}

// Join carries bytes both ways until the agent has ended the stream.
func Join(stream *Stream, tcp *net.TCPConn) {
	j := &joint{stream: stream, tcp: tcp, credit: 1 << 20}
	j.ready = sync.NewCond(&j.mu)
	var up sync.WaitGroup
	up.Go(j.up)
	j.down()
	_ = tcp.Close()
	up.Wait()
	stream.End()
}

// down carries what the agent sends.
func (j *joint) down() {
	for {
		frame, err := j.stream.Recv()
		if err != nil || frame.GetReset_() != "" {
			j.mu.Lock()
			j.over = true
			j.ready.Broadcast()
			j.mu.Unlock()
			return
		}
		switch kind := frame.GetFrame().(type) {
		case *api.DialBackRequest_Data:
			_, _ = j.tcp.Write(kind.Data)
			j.mu.Lock()
			_ = j.stream.SendCredit(len(kind.Data))
			j.mu.Unlock()
		case *api.DialBackRequest_Credit:
			j.mu.Lock()
			j.credit += int(kind.Credit)
			j.ready.Broadcast()
			j.mu.Unlock()
		case *api.DialBackRequest_Eof:
			_ = j.tcp.CloseWrite()
		}
	}
}

// up carries what the client sends.
func (j *joint) up() {
	buffer := make([]byte, 128<<10)
	for {
		n, err := j.tcp.Read(buffer)
		j.mu.Lock()
		for j.credit < n && !j.over {
			j.ready.Wait()
		}
		if j.over {
			j.mu.Unlock()
			return
		}
		j.credit -= n
		if n > 0 {
			_ = j.stream.SendData(buffer[:n])
		}
		if err != nil {
			_ = j.stream.SendEOF()
		}
		j.mu.Unlock()
		if err != nil {
			return
		}
	}
}
