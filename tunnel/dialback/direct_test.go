package dialback_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"os"
	"testing"

	"netvps/tunnel/api"
	"netvps/tunnel/dialback"
	"netvps/tunnel/direct"
	"netvps/tunnel/internal/gatewaytest"
)

func TestADialIsAnsweredWithAStreamWhereDirectConnectionsAreNotKnown(t *testing.T) {
	a := start(t)
	a.NextHello()
	a.Direct = true
	stream := must[*gatewaytest.Stream](t)(a.Open(toSSH))
	_ = stream.SendData([]byte("hello"))
	_ = stream.SendEOF()
	if got := must[[]byte](t)(stream.ReadAll()); string(got) != "hello" {
		t.Fatalf("got %q", got)
	}
	stream.End()
}

// answered accepts a direct connection at the runner's socket, in place of the one that Control has.
func answered(t *testing.T, a *agent, target *api.DialTarget) *direct.Arrival {
	path := a.Dir + "/tunnel.sock"
	_ = os.Remove(path)
	listener := must[net.Listener](t)(net.Listen("unix", path))
	t.Cleanup(func() { _ = listener.Close() })
	id, _ := a.Ask(target)
	raw := must[net.Conn](t)(listener.Accept())
	certificate, key := a.CA.Server(t)
	pair := must[tls.Certificate](t)(tls.X509KeyPair([]byte(certificate), []byte(key)))
	roots := a.CA.Identity(t, "netvps://session/s1/epoch/1").RootCAs
	arrival, _, err := direct.Accept(raw, &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	if arrival.DialID != id || arrival.Identity != "netvps://session/s1/epoch/1" {
		t.Fatalf("arrived: %+v", arrival)
	}
	_ = arrival.Accept()
	return arrival
}

func TestADialIsAnsweredDirectly(t *testing.T) {
	a := start(t)
	a.NextHello()
	a.Direct = true
	conn := answered(t, a, toSSH).Conn
	_, _ = conn.Write([]byte("hello"))
	_ = conn.CloseWrite()
	if got := must[[]byte](t)(io.ReadAll(conn)); string(got) != "hello" {
		t.Fatalf("got %q", got)
	}
	if a.origin.Load() != "192.0.2.7:50312" {
		t.Fatalf("from %v", a.origin.Load())
	}
}

func TestDirectConnectionsLeaveRoomForControl(t *testing.T) {
	a := start(t, func(c *dialback.Client) { c.MaxDirect = 1 })
	a.NextHello()
	a.Direct = true
	_ = answered(t, a, toSSH)
	stream := must[*gatewaytest.Stream](t)(a.Open(toSSH)) // the listener would accept a second one, which nothing answers
	_ = stream.SendEOF()
	_ = must[[]byte](t)(stream.ReadAll())
	stream.End()
}

func TestADialOfAPortIsJoinedDirectly(t *testing.T) {
	a := start(t)
	a.NextHello()
	a.Direct = true
	listener := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { _ = listener.Close() })
	conn := answered(t, a, toTCP(listener.Addr().String())).Conn
	app := must[net.Conn](t)(listener.Accept())
	sent := bytes.Repeat([]byte("0123456789abcdef"), 40<<10)
	go func() { _, _ = conn.Write(sent); _ = conn.CloseWrite() }()
	if got := must[[]byte](t)(io.ReadAll(app)); !bytes.Equal(got, sent) {
		t.Fatalf("the app got %d bytes", len(got))
	}
	go func() { _, _ = app.Write(sent); _ = app.Close() }()
	if got := must[[]byte](t)(io.ReadAll(conn)); !bytes.Equal(got, sent) {
		t.Fatalf("got %d bytes", len(got))
	}
}

func TestAnAppThatBreaksADirectConnectionDoesNotEndIt(t *testing.T) {
	a := start(t)
	a.NextHello()
	a.Direct = true
	listener := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { _ = listener.Close() })
	conn := answered(t, a, toTCP(listener.Addr().String())).Conn
	app := must[net.Conn](t)(listener.Accept()).(*net.TCPConn)
	_ = app.SetLinger(0)
	_ = app.Close()
	if _, err := conn.WriteTo(io.Discard); err == nil {
		t.Fatal("it ended as if all had arrived")
	}
}
