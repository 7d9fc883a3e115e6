package dialback_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"netvps/tunnel/activity"
	"netvps/tunnel/api"
	"netvps/tunnel/dialback"
	"netvps/tunnel/internal/gatewaytest"
	"netvps/tunnel/rundir"
)

// agent is a client that runs against a gateway in this process; its SSH server echoes.
type agent struct {
	*gatewaytest.Gateway
	private  string
	applied  atomic.Uint64
	activity activity.Tracker
	notices  chan *api.SleepNotice
	client   *dialback.Client
	origin   atomic.Value
}

func start(t *testing.T, set ...func(*dialback.Client)) *agent {
	dir := t.TempDir()
	a := &agent{Gateway: gatewaytest.New(t, dir, &api.AgentConfig{Generation: 7}), private: t.TempDir(), notices: make(chan *api.SleepNotice, 10)}
	ctx, cancel := context.WithCancel(t.Context())
	client := &dialback.Client{
		Dir: rundir.Dir(dir), Private: rundir.Dir(a.private), SessionUID: gatewaytest.SessionUID, Version: "test", HostKey: "ssh-ed25519 AAAA",
		ServeSSH: a.echo,
		Apply:    func(config *api.AgentConfig) { a.applied.Store(config.GetGeneration()) },
		Notify:   func(notice *api.SleepNotice) { a.notices <- notice },
		Activity: &a.activity, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		ActivityEvery: 50 * time.Millisecond,
	}
	a.client = client
	for _, change := range set {
		change(client)
	}
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return a
}

func (a *agent) echo(conn net.Conn) {
	a.origin.Store(conn.RemoteAddr().String())
	_, _ = io.Copy(conn, conn)
	_ = conn.Close()
}

func (a *agent) applies(generation uint64) {
	a.Next(func(m *api.ControlRequest) bool { return m.GetConfigApplied() == generation })
}

var toSSH = &api.DialTarget{Target: &api.DialTarget_Ssh{Ssh: true}}

func toTCP(address string) *api.DialTarget {
	return &api.DialTarget{Target: &api.DialTarget_Tcp{Tcp: address}}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func TestAgentBootsSaysHelloAndKeepsItsConfig(t *testing.T) {
	a := start(t)
	want := &api.AgentHello{SessionUid: gatewaytest.SessionUID, Epoch: 1, Version: "test", HostKey: "ssh-ed25519 AAAA", Direct: true, Resumable: true}
	if hello := a.NextHello(); !proto.Equal(hello, want) {
		t.Fatalf("hello: %v", hello)
	}
	a.applies(7)
	kept := must[*api.AgentConfig](t)(rundir.Dir(a.private).Config())
	if a.applied.Load() != 7 || kept.GetGeneration() != 7 {
		t.Fatalf("applied %d, kept %d", a.applied.Load(), kept.GetGeneration())
	}
}

func TestSSHTargetIsServedInProcessWithTheOriginsAddress(t *testing.T) {
	a := start(t)
	a.NextHello()
	stream := must[*gatewaytest.Stream](t)(a.Open(toSSH))
	_ = stream.SendData([]byte("hello"))
	_ = stream.SendEOF()
	got := must[[]byte](t)(stream.ReadAll())
	stream.End()
	if string(got) != "hello" || a.origin.Load() != "192.0.2.7:50312" {
		t.Fatalf("got %q from %v", got, a.origin.Load())
	}
}

// server accepts one TCP connection and hands it to serve.
func server(t *testing.T, network, address string, serve func(net.Conn)) string {
	listener := must[net.Listener](t)(net.Listen(network, address))
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			serve(conn)
		}
	}()
	return listener.Addr().String()
}

func TestEachDirectionEndsByItself(t *testing.T) {
	a := start(t)
	a.NextHello()
	// Answers only once the request has ended, and then at length: a half-closed connection.
	answer := bytes.Repeat([]byte("0123456789abcdef"), 5<<16)
	address := server(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		request, _ := io.ReadAll(conn)
		_, _ = conn.Write(request)
		_, _ = conn.Write(answer)
		_ = conn.Close()
	})
	stream := must[*gatewaytest.Stream](t)(a.Open(toTCP(address)))
	_ = stream.SendData([]byte("request"))
	_ = stream.SendEOF()
	got := must[[]byte](t)(stream.ReadAll())
	if sha256.Sum256(got) != sha256.Sum256(append([]byte("request"), answer...)) {
		t.Fatalf("got %d bytes", len(got))
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Fatalf("the agent does not end its stream: %v", err)
	}
	stream.End()
	if seen := a.activity.Snapshot(); seen.GetLastByteTime() != nil {
		t.Fatalf("bytes of a port are activity: %v", seen)
	}
}

func TestUnixTargetAndFailuresInWords(t *testing.T) {
	a := start(t)
	a.NextHello()
	path := filepath.Join(t.TempDir(), "socket")
	server(t, "unix", path, func(conn net.Conn) { _, _ = conn.Write([]byte("unix")); _ = conn.Close() })
	stream := must[*gatewaytest.Stream](t)(a.Open(&api.DialTarget{Target: &api.DialTarget_Unix{Unix: path}}))
	if got := must[[]byte](t)(stream.ReadAll()); string(got) != "unix" {
		t.Fatalf("got %q", got)
	}
	stream.End()
	for _, failing := range []struct {
		target *api.DialTarget
		reason string
	}{
		{&api.DialTarget{Target: &api.DialTarget_Unix{Unix: path + "-none"}}, "no such file or directory"},
		{toTCP("127.0.0.1:1"), "connection refused"},
		{toTCP("nonsense"), "missing port"},
		{&api.DialTarget{}, "does not know that kind of target"},
	} {
		if _, err := a.Open(failing.target); err == nil || !strings.Contains(err.Error(), failing.reason) {
			t.Errorf("%v: %v", failing.target, err)
		}
	}
}

func TestPeersResetBreaksTheTarget(t *testing.T) {
	a := start(t)
	a.NextHello()
	ended := make(chan error, 1)
	address := server(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	})
	stream := must[*gatewaytest.Stream](t)(a.Open(toTCP(address)))
	_ = stream.SendReset("client is gone")
	stream.End()
	if err := <-ended; err == nil || err == io.EOF {
		t.Fatalf("the target saw a clean end: %v", err)
	}
}

func TestTargetsResetReachesTheGateway(t *testing.T) {
	a := start(t)
	a.NextHello()
	address := server(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	})
	stream := must[*gatewaytest.Stream](t)(a.Open(toTCP(address)))
	_ = stream.SendData([]byte("x"))
	_, err := stream.ReadAll()
	if err == nil || !strings.Contains(err.Error(), "connection reset by peer") {
		t.Fatalf("got %v", err)
	}
	stream.End()
}

func TestActivityIsSaidWhenItChanges(t *testing.T) {
	a := start(t)
	a.NextHello()
	defer a.activity.Channel()()
	a.activity.Touch()
	a.Next(func(m *api.ControlRequest) bool {
		return m.GetActivity().GetChannels() == 1 && time.Since(m.GetActivity().GetLastByteTime().AsTime()) < time.Minute
	})
}
