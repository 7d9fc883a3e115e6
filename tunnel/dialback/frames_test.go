package dialback

import (
	"context"
	"io"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"netvps/tunnel/api"
)

// scripted is a stream whose peer sends what it was given, and takes anything.
type scripted struct {
	grpc.BidiStreamingClient[api.DialBackRequest, api.DialBackResponse]
	frames []*api.DialBackResponse
}

func (s *scripted) Send(*api.DialBackRequest) error { return nil }
func (s *scripted) CloseSend() error                { return nil }

func (s *scripted) Recv() (*api.DialBackResponse, error) {
	if len(s.frames) == 0 {
		return nil, io.EOF
	}
	frame := s.frames[0]
	s.frames = s.frames[1:]
	return frame, nil
}

// FuzzFrames holds that frames of a gateway, in any order, never hand out more than was sent, and that the end comes.
func FuzzFrames(f *testing.F) {
	add := func(frames ...*api.DialBackResponse) {
		var encoded []byte
		for _, frame := range frames {
			wire, err := proto.Marshal(frame)
			if err != nil {
				f.Fatal(err)
			}
			encoded = append(append(encoded, byte(len(wire))), wire...)
		}
		f.Add(encoded)
	}
	data := &api.DialBackResponse{Frame: &api.DialBackResponse_Data{Data: []byte("data")}}
	eof := &api.DialBackResponse{Frame: &api.DialBackResponse_Eof{Eof: true}}
	credit := &api.DialBackResponse{Frame: &api.DialBackResponse_Credit{Credit: 1<<64 - 1}}
	reset := &api.DialBackResponse{Frame: &api.DialBackResponse_Reset_{Reset_: "why"}}
	add(data, eof)
	add(credit, credit, data, reset, data)
	add(eof, eof, data)
	f.Fuzz(func(t *testing.T, encoded []byte) {
		var frames []*api.DialBackResponse
		sent := 0
		for len(encoded) > 0 {
			length := min(int(encoded[0]), len(encoded)-1)
			frame := &api.DialBackResponse{}
			if proto.Unmarshal(encoded[1:1+length], frame) == nil {
				frames = append(frames, frame)
				sent += len(frame.GetData())
			}
			encoded = encoded[1+length:]
		}
		_, cancel := context.WithCancel(t.Context())
		conn := newConn(&scripted{frames: frames}, cancel, &net.TCPAddr{}, &net.TCPAddr{})
		_, _ = conn.Write([]byte("answer"))
		got, _ := io.ReadAll(conn)
		_ = conn.Close()
		conn.Wait()
		if len(got) > sent {
			t.Errorf("%d bytes of %d", len(got), sent)
		}
	})
}

func FuzzOrigin(f *testing.F) {
	f.Add("alice@192.0.2.7:50312")
	f.Add("a@b@[2001:db8::1%eth0]:1")
	f.Add("alice@exec")
	f.Fuzz(func(t *testing.T, text string) { _ = origin(text).String() })
}
