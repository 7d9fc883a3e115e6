package front

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netvps/tunnel/direct"
	"netvps/tunnel/internal/gatewaytest"
)

const identity = "netvps://session/s1/epoch/1"

// server is what a front talks to: the control plane's part of it, and gRPC's socket.
type server struct {
	*testing.T
	ca      *gatewaytest.CA
	ours    int
	address string
	behind  net.Listener
	done    chan error
}

func start(t *testing.T) *server {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	check(t, err)
	s := &server{T: t, ca: gatewaytest.NewCA(t), ours: pair[0], done: make(chan error, 1)}
	path := filepath.Join(t.TempDir(), "grpc")
	s.behind, err = net.Listen("unix", path)
	check(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	s.address = listener.Addr().String()
	file, err := listener.(*net.TCPListener).File()
	check(t, err)
	_ = listener.Close()
	go func() { s.done <- Serve(pair[1], slog.New(slog.NewTextHandler(t.Output(), nil))) }()
	if said := s.receive(); string(said) != "ready" {
		t.Fatalf("said %q", said)
	}
	certificate, key := s.ca.Server(t)
	s.say(map[string]any{"certificate": certificate, "key": key, "ca": s.ca.PEM(), "behind": path}, file)
	t.Cleanup(func() {
		_, _ = s.behind.Close(), unix.Close(s.ours)
		if err := <-s.done; err != nil {
			t.Errorf("it ended: %v", err)
		}
		// pair[1] stays open, as until a process exits: connections that end just now still write to it.
	})
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *server) receive() []byte {
	buffer := make([]byte, 4096)
	n, err := unix.Read(s.ours, buffer)
	check(s.T, err)
	return buffer[:n]
}

func (s *server) next() (found report) {
	s.Helper()
	check(s.T, json.Unmarshal(s.receive(), &found))
	return found
}

func (s *server) say(what any, file *os.File) {
	s.Helper()
	text, err := json.Marshal(what)
	check(s.T, err)
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
		defer func() { _ = file.Close() }()
	}
	check(s.T, unix.Sendmsg(s.ours, text, rights, nil, 0))
}

// join joins a connection with a socket, whose other end it returns.
func (s *server) join(id uint64, first string) *net.UnixConn {
	s.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	check(s.T, err)
	s.say(order{Join: id, First: []byte(first)}, os.NewFile(uintptr(pair[0]), "theirs"))
	file := os.NewFile(uintptr(pair[1]), "ours")
	conn, err := net.FileConn(file)
	check(s.T, err)
	_ = file.Close()
	s.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.UnixConn)
}

type dialled struct {
	conn *direct.Conn
	err  error
}

// dial makes an agent's connection.
func (s *server) dial(uri, dialID string) <-chan dialled {
	raw, err := net.Dial("tcp", s.address)
	check(s.T, err)
	s.Cleanup(func() { _ = raw.Close() })
	return s.dialOn(raw, uri, dialID)
}

func (s *server) dialOn(raw net.Conn, uri, dialID string) <-chan dialled {
	config, done := s.ca.Identity(s.T, uri), make(chan dialled, 1)
	ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
	go func() {
		defer cancel()
		conn, err := direct.Dial(ctx, raw, config, dialID)
		done <- dialled{conn, err}
	}()
	return done
}

// joined makes a connection and joins it; returns the agent's end and the gateway's.
func (s *server) joined() (*direct.Conn, *net.UnixConn, uint64) {
	s.Helper()
	dialling := s.dial(identity, "dial-1")
	arrived := s.next()
	if arrived.Identity != identity || arrived.Dial != "dial-1" || arrived.Arrived == 0 {
		s.Fatalf("arrived: %+v", arrived)
	}
	near := s.join(arrived.Arrived, "hello")
	made := <-dialling
	check(s.T, made.err)
	hello := make([]byte, 5)
	_, err := io.ReadFull(near, hello)
	check(s.T, err)
	if string(hello) != "hello" {
		s.Fatalf("first %q", hello)
	}
	return made.conn, near, arrived.Arrived
}

func (s *server) ends(id uint64) {
	s.Helper()
	if ended := s.next(); ended.Ended != id {
		s.Fatalf("said %+v, not that %d ended", ended, id)
	}
}

func random(t testing.TB, size int) []byte {
	data := make([]byte, size)
	_, err := rand.Read(data)
	check(t, err)
	return data
}

func TestBytesPassBothWaysAtOnceAndEachDirectionEndsByItself(t *testing.T) {
	s := start(t)
	agent, near, id := s.joined()
	up, down := random(t, 24<<20+17), random(t, 24<<20+5)
	go func() {
		for rest := down; len(rest) > 0; { // small and large writes
			n := min(len(rest), 1+len(rest)%300_000)
			if _, err := agent.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
		_ = agent.CloseWrite()
	}()
	arrived := make(chan []byte, 1)
	go func() {
		got, _ := io.ReadAll(agent)
		arrived <- got
	}()
	written := make(chan error, 1)
	go func() {
		_, err := near.Write(up)
		written <- err
	}()
	got, err := io.ReadAll(near)
	check(t, err)
	if sha256.Sum256(got) != sha256.Sum256(down) {
		t.Fatalf("%d bytes down differ", len(got))
	}
	check(t, <-written)
	_ = near.CloseWrite()
	if got := <-arrived; !bytes.Equal(got, up) {
		t.Fatalf("%d bytes up differ", len(got))
	}
	s.ends(id)
}

func TestASingleByteArrivesAtOnce(t *testing.T) {
	s := start(t)
	agent, near, _ := s.joined()
	for range 100 {
		_, _ = agent.Write([]byte("a"))
		got := make([]byte, 1)
		_, err := io.ReadFull(near, got)
		check(t, err)
		_, _ = near.Write([]byte("b"))
		_, err = io.ReadFull(agent, got)
		check(t, err)
	}
}

func TestOtherProtocolsReachTheServersSocketWithTheirAddress(t *testing.T) {
	s := start(t)
	type seen struct {
		peer, said string
		err        error
	}
	served := make(chan seen, 1)
	certificate, key := s.ca.Server(t)
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	check(t, err)
	go func() {
		conn, err := s.behind.Accept()
		if err != nil {
			served <- seen{err: err}
			return
		}
		secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}})
		said, err := io.ReadAll(secure)
		_, _ = secure.Write([]byte("pong"))
		_ = secure.Close()
		served <- seen{conn.RemoteAddr().String(), string(said), err}
	}()
	config := s.ca.Identity(t, identity)
	config.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", s.address, config)
	check(t, err)
	_, _ = conn.Write([]byte("ping"))
	_ = conn.CloseWrite()
	answer, err := io.ReadAll(conn)
	check(t, err)
	got := <-served
	if got.said != "ping" || got.err != nil || string(answer) != "pong" {
		t.Fatalf("%+v, answer %q", got, answer)
	}
	if want := "@netvps/link/" + conn.LocalAddr().String() + "/"; !strings.HasPrefix(got.peer, want) {
		t.Fatalf("from %q, not %q", got.peer, want)
	}
}

func TestConnectionsEndWhenTheServerSaysSo(t *testing.T) {
	s := start(t)
	refused := s.dial(identity, "late")
	arrived := s.next()
	s.say(order{End: arrived.Arrived}, nil)
	if made := <-refused; made.err == nil {
		t.Fatal("a refused dial was accepted")
	}
	s.ends(arrived.Arrived)
	agent, near, id := s.joined()
	s.say(order{End: id}, nil)
	if _, err := io.ReadAll(agent); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(near); len(got) > 0 {
		t.Fatalf("got %q", got)
	}
	s.ends(id)
	// A socket for a connection that is gone is closed.
	if got, _ := io.ReadAll(s.join(id, "hello")); len(got) > 0 {
		t.Fatalf("got %q", got)
	}
}

func TestAnAgentThatVanishesEndsItsConnection(t *testing.T) {
	s := start(t)
	agent, near, id := s.joined()
	_ = agent.NetConn().Close()
	if got, _ := io.ReadAll(near); len(got) > 0 {
		t.Fatalf("got %q", got)
	}
	s.ends(id)
}

func TestCertificatesOfAnotherCAAreRefused(t *testing.T) {
	s := start(t)
	raw, err := net.Dial("tcp", s.address)
	check(t, err)
	other := gatewaytest.NewCA(t).Identity(t, identity)
	other.RootCAs = s.ca.Identity(t, identity).RootCAs
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := direct.Dial(ctx, raw, other, "dial-1"); err == nil {
		t.Fatal("accepted")
	}
	_, _, _ = s.joined() // the next report is of a connection that may
}

func TestAPeerThatSpeaksNoTLSIsClosed(t *testing.T) {
	s := start(t)
	raw, err := net.Dial("tcp", s.address)
	check(t, err)
	_, _ = raw.Write([]byte("SSH-2.0-lost\r\n"))
	_, _ = io.ReadAll(raw) // ends
	_ = raw.Close()
}

// A window of the protocol's own would bound how much is on the way, and with it the speed over a long distance: 10 MB/s at
// a round trip of 100 ms with 1 MiB. 8 MiB are 80 MB/s.
func TestNoWindowBoundsWhatIsOnTheWay(t *testing.T) {
	const onTheWay = 8 << 20
	s := start(t)
	held := make(chan []byte, 1<<16)
	enough := make(chan struct{})
	ours, theirs := pipe(t)
	up, err := net.Dial("tcp", s.address)
	check(t, err)
	t.Cleanup(func() { _ = up.Close() })
	go func() { _, _ = io.Copy(ours, up) }()
	go func() { // as a long line: delivers what is sent once that much is on it
		total, open := 0, false
		for {
			piece := make([]byte, 64<<10)
			n, err := ours.Read(piece)
			if err != nil {
				close(held)
				return
			}
			if total += n; total > onTheWay && !open {
				open = true
				close(enough)
			}
			held <- piece[:n]
		}
	}()
	started := make(chan struct{})
	go func() {
		for piece := range held {
			select {
			case <-started:
				<-enough
			default:
			}
			_, _ = up.Write(piece)
		}
	}()
	dialling := s.dialOn(theirs, identity, "dial-1")
	near := s.join(s.next().Arrived, "")
	made := <-dialling
	check(t, made.err)
	close(started)
	data := random(t, onTheWay+1<<20)
	go func() { _, _ = made.conn.Write(data); _ = made.conn.CloseWrite() }()
	got, err := io.ReadAll(near)
	check(t, err)
	if !bytes.Equal(got, data) {
		t.Fatalf("%d bytes differ", len(got))
	}
}

func pipe(t *testing.T) (net.Conn, net.Conn) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer func() { _ = listener.Close() }()
	theirs, err := net.Dial("tcp", listener.Addr().String())
	check(t, err)
	ours, err := listener.Accept()
	check(t, err)
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	return ours, theirs
}
