package dialback_test

import (
	"io"
	"net"
	"testing"
	"time"

	"netvps/tunnel/api"
	"netvps/tunnel/internal/gatewaytest"
)

const window = 1 << 20

// pour opens a connection to a server that sends without end.
func pour(t *testing.T, a *agent) *gatewaytest.Stream {
	address := server(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		defer func() { _ = conn.Close() }()
		for piece := make([]byte, 64<<10); ; {
			if _, err := conn.Write(piece); err != nil {
				return
			}
		}
	})
	return must[*gatewaytest.Stream](t)(a.Open(toTCP(address)))
}

func receive(t *testing.T, stream *gatewaytest.Stream, want int) {
	for got := 0; got < want; {
		frame, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if got += len(frame.GetData()); got > want || len(frame.GetData()) > 256<<10 {
			t.Fatalf("got %d of %d, the last frame has %d", got, want, len(frame.GetData()))
		}
	}
}

func TestAgentSendsNoMoreThanItsCreditAndOtherStreamsContinue(t *testing.T) {
	a := start(t)
	a.NextHello()
	stalled := pour(t, a)
	receive(t, stalled, window) // and no credit in turn
	for range 3 {               // others flow
		other := must[*gatewaytest.Stream](t)(a.Open(toSSH))
		_ = other.SendData([]byte("x"))
		_ = other.SendEOF()
		if got := must[[]byte](t)(other.ReadAll()); string(got) != "x" {
			t.Fatalf("got %q", got)
		}
		other.End()
	}
	_ = stalled.SendCredit(100_000)
	receive(t, stalled, 100_000) // to the byte
	_ = stalled.SendReset("enough")
	stalled.End()
}

func TestAgentCreditsWhatItsTargetTook(t *testing.T) {
	a := start(t)
	a.NextHello()
	release := make(chan struct{})
	address := server(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		<-release
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	})
	stream := must[*gatewaytest.Stream](t)(a.Open(toTCP(address)))
	credited := make(chan int, 1000)
	go func() {
		defer close(credited)
		for {
			frame, err := stream.Recv()
			if err != nil {
				return
			}
			credited <- int(frame.GetCredit())
		}
	}()
	sent, credit := 0, window
	send := func() {
		for credit >= 64<<10 {
			_ = stream.SendData(make([]byte, 64<<10))
			sent, credit = sent+64<<10, credit-64<<10
		}
	}
	send()
	for stalled := false; !stalled; { // what sockets on the way hold is credited, then no more
		select {
		case n := <-credited:
			credit += n
			send()
		case <-time.After(300 * time.Millisecond):
			stalled = true
		}
	}
	if sent > 16<<20 {
		t.Fatalf("a stalled target took %d bytes", sent)
	}
	close(release)
	for sent < 32<<20 {
		credit += <-credited
		send()
	}
	_ = stream.SendEOF()
	for range credited { // until the agent ends the stream
	}
	stream.End()
}

func TestPeerThatSendsMoreThanItsCreditIsReset(t *testing.T) {
	a := start(t)
	a.NextHello()
	address := server(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		<-t.Context().Done() // reads nothing until the test is over
		_ = conn.Close()
	})
	stream := must[*gatewaytest.Stream](t)(a.Open(toTCP(address)))
	go func() {
		for range 64 { // more than sockets hold and the credit together
			if stream.SendData(make([]byte, 256<<10)) != nil {
				return
			}
		}
	}()
	for {
		frame, err := stream.Recv()
		if err != nil {
			t.Fatalf("no reset: %v", err)
		}
		if reset := frame.GetReset_(); reset != "" {
			if reset != "more data than credit" {
				t.Fatalf("reset: %s", reset)
			}
			break
		}
	}
	stream.End()
	if _, err := a.Open(&api.DialTarget{}); err == nil {
		t.Fatal("no answer from an agent that should live on")
	}
}
