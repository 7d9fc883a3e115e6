package gatewaytest

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"netvps/tunnel/api"
)

// Control implements TunnelService.
func (g *Gateway) Control(stream grpc.BidiStreamingServer[api.ControlRequest, api.ControlResponse]) error {
	first, err := stream.Recv()
	if err != nil || first.GetHello() == nil {
		return status.Error(codes.InvalidArgument, "no hello")
	}
	c := &control{out: make(chan *api.ControlResponse, 1000), gone: make(chan struct{})}
	g.mu.Lock()
	c.out <- &api.ControlResponse{Message: &api.ControlResponse_Config{Config: g.config}}
	g.control = c
	g.mu.Unlock()
	g.Hellos <- first.GetHello()
	go func() {
		defer close(c.gone)
		for {
			message, err := stream.Recv()
			if err != nil {
				return
			}
			if failure := message.GetDialFailure(); failure != nil {
				g.deliver(failure.GetDialId(), failure)
			} else {
				g.Others <- message
			}
		}
	}()
	for {
		select {
		case message := <-c.out:
			if err := stream.Send(message); err != nil {
				return err
			}
		case <-c.gone:
			return nil
		}
	}
}

// Say sends a message on the newest Control.
func (g *Gateway) Say(message *api.ControlResponse) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.control.out <- message
}

// Configure sends a config, to later agents too.
func (g *Gateway) Configure(config *api.AgentConfig) {
	g.mu.Lock()
	g.config = config
	g.mu.Unlock()
	g.Say(&api.ControlResponse{Message: &api.ControlResponse_Config{Config: config}})
}

// Drain asks the agent to connect again.
func (g *Gateway) Drain() {
	g.Say(&api.ControlResponse{Message: &api.ControlResponse_Drain{Drain: true}})
}

// DialBack implements TunnelService. The handler lasts until the test is done with the stream.
func (g *Gateway) DialBack(server grpc.BidiStreamingServer[api.DialBackRequest, api.DialBackResponse]) error {
	first, err := server.Recv()
	if err != nil {
		return err
	}
	stream := &Stream{BidiStreamingServer: server, ended: make(chan error, 1)}
	if !g.deliver(first.GetOpen(), stream) {
		_ = server.Send(&api.DialBackResponse{Frame: &api.DialBackResponse_Reset_{Reset_: "unknown dial id"}})
		return nil
	}
	select {
	case err := <-stream.ended:
		return err
	case <-server.Context().Done():
		return nil
	}
}

func (g *Gateway) deliver(id string, answer any) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting, ok := g.waiting[id]
	delete(g.waiting, id)
	if ok {
		waiting <- answer
	}
	return ok
}

// Forget makes the gateway treat the dial as late.
func (g *Gateway) Forget(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.waiting, id)
}

// Ask sends a DialRequest; the answer arrives on the channel.
func (g *Gateway) Ask(target *api.DialTarget) (id string, answer <-chan any) {
	waiting := make(chan any, 1)
	id = randomID()
	g.mu.Lock()
	g.waiting[id] = waiting
	g.mu.Unlock()
	g.Say(&api.ControlResponse{Message: &api.ControlResponse_Dial{
		Dial: &api.DialRequest{DialId: id, Target: target, Origin: "alice@192.0.2.7:50312", Direct: g.Direct}}})
	return id, waiting
}

// Open asks for a connection and waits for it.
func (g *Gateway) Open(target *api.DialTarget) (*Stream, error) {
	_, answer := g.Ask(target)
	select {
	case got := <-answer:
		if failure, ok := got.(*api.DialFailure); ok {
			return nil, errors.New(failure.GetReason())
		}
		return got.(*Stream), nil
	case <-time.After(15 * time.Second):
		return nil, errors.New("no answer to the dial")
	}
}

// Stream is the gateway's side of a DialBack, with no flow control of its own: tests send and receive frames.
type Stream struct {
	grpc.BidiStreamingServer[api.DialBackRequest, api.DialBackResponse]
	ended chan error
}

// End ends the handler.
func (s *Stream) End() { s.ended <- nil }

// SendData sends bytes as one frame.
func (s *Stream) SendData(data []byte) error {
	return s.Send(&api.DialBackResponse{Frame: &api.DialBackResponse_Data{Data: data}})
}

// SendCredit allows the agent so many more bytes.
func (s *Stream) SendCredit(n int) error {
	return s.Send(&api.DialBackResponse{Frame: &api.DialBackResponse_Credit{Credit: uint64(n)}})
}

// SendEOF ends the gateway's direction.
func (s *Stream) SendEOF() error {
	return s.Send(&api.DialBackResponse{Frame: &api.DialBackResponse_Eof{Eof: true}})
}

// SendReset breaks the connection.
func (s *Stream) SendReset(why string) error {
	return s.Send(&api.DialBackResponse{Frame: &api.DialBackResponse_Reset_{Reset_: why}})
}

// ReadAll receives data until EOF, crediting all of it.
func (s *Stream) ReadAll() ([]byte, error) {
	var all []byte
	for {
		frame, err := s.Recv()
		if err != nil {
			return all, err
		}
		switch kind := frame.GetFrame().(type) {
		case *api.DialBackRequest_Data:
			all = append(all, kind.Data...)
			if err := s.SendCredit(len(kind.Data)); err != nil {
				return all, err
			}
		case *api.DialBackRequest_Eof:
			return all, nil
		case *api.DialBackRequest_Reset_:
			return all, fmt.Errorf("reset: %s", kind.Reset_)
		}
	}
}
