// Package front is the program before the tunnel's port. It passes connections of gRPC on to the server's own socket,
// and ends the TLS of agents' direct connections (tunnel/direct), whose bytes never pass through Python.
//
// The server (netvps/gateway/tunnel/front.py) decides about each direct connection: it hears of its identity and its
// dial, and answers with the socket to join it with, or with a refusal. The two talk on a SOCK_SEQPACKET socket; a
// message is JSON.
package front

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"netvps/tunnel/direct"
)

const (
	// firstWait is the time for a ClientHello, and for the rest of the handshake and a dial's id.
	firstWait = 10 * time.Second
	// answerWait is the time for the server's answer.
	answerWait = 10 * time.Second
	// maxUnknown bounds connections without a ClientHello, of one address and in total.
	maxUnknown, maxUnknownOfAddress = 4096, 512
	// maxWaiting bounds the connections of an identity that wait for an answer.
	maxWaiting = 256
	// linger is how long one direction may go on after the other one has ended.
	linger      = 15 * time.Second
	longestText = 64 << 10
)

// order is a message of the server.
type order struct {
	// The first one; with the socket that listens.
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
	CA          string `json:"ca"`
	Behind      string `json:"behind"` // path of gRPC's socket

	// About a connection: join it with the socket that comes with the message, after what is sent to that first.
	Join  uint64 `json:"join"`
	First []byte `json:"first"`
	// Or end it, joined or not.
	End uint64 `json:"end"`
	// Accept no more connections.
	Drain bool `json:"drain"`
}

// report is a message to the server.
type report struct {
	Arrived  uint64 `json:"arrived,omitempty"`
	Identity string `json:"identity,omitempty"`
	Dial     string `json:"dial,omitempty"`
	Ended    uint64 `json:"ended,omitempty"`
}

// Front serves one port.
type Front struct {
	descriptor int
	log        *slog.Logger
	listener   net.Listener
	config     *tls.Config
	behind     string

	said sync.Mutex // messages are sent one at a time

	mu      sync.Mutex
	last    uint64
	open    map[uint64]*connection
	waiting map[string]int // by identity
	unknown map[string]int // by address
	total   int            // of unknown
}

// connection is a direct one.
type connection struct {
	id      uint64
	arrival *direct.Arrival
	answer  chan answer // one
	waits   bool        // for an answer; guarded by the front's lock
	once    sync.Once
	over    chan struct{}
}

type answer struct {
	file  *os.File
	first []byte
}

func (c *connection) end() { c.once.Do(func() { close(c.over) }) }

// Serve says "ready", and serves until the socket of its standard input is closed.
func Serve(descriptor int, log *slog.Logger) error {
	// Other programs of this account must not read the key.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_DUMPABLE: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_NO_NEW_PRIVS: %w", err)
	}
	if _, err := unix.Write(descriptor, []byte("ready")); err != nil {
		return os.NewSyscallError("write", err)
	}
	f := &Front{
		descriptor: descriptor, log: log,
		open: map[uint64]*connection{}, waiting: map[string]int{}, unknown: map[string]int{},
	}
	data := make([]byte, longestText)
	for {
		text, file, err := receive(descriptor, data)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f.take(text, file); err != nil {
			return err
		}
	}
}

// receive returns a message and the file that came with it, if any.
func receive(descriptor int, data []byte) ([]byte, *os.File, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	n, size, _, _, err := unix.Recvmsg(descriptor, data, oob, unix.MSG_CMSG_CLOEXEC)
	for err == unix.EINTR {
		n, size, _, _, err = unix.Recvmsg(descriptor, data, oob, unix.MSG_CMSG_CLOEXEC)
	}
	switch {
	case err == unix.ECONNRESET || err == nil && n == 0:
		return nil, nil, io.EOF
	case err != nil:
		return nil, nil, os.NewSyscallError("recvmsg", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:size])
	if err != nil {
		return nil, nil, err
	}
	for _, message := range messages {
		rights, err := unix.ParseUnixRights(&message)
		if err != nil {
			return nil, nil, err
		}
		for _, fd := range rights {
			if err := unix.SetNonblock(fd, true); err != nil {
				return nil, nil, err
			}
			return data[:n], os.NewFile(uintptr(fd), "socket"), nil
		}
	}
	return data[:n], nil, nil
}

func (f *Front) take(text []byte, file *os.File) error {
	var given order
	if err := json.Unmarshal(text, &given); err != nil {
		return err
	}
	switch {
	case given.Certificate != "":
		return f.start(given, file)
	case given.Join != 0:
		f.join(given, file)
	case given.End != 0:
		if found := f.connection(given.End); found != nil {
			found.end()
		}
	case given.Drain && f.listener != nil:
		_ = f.listener.Close()
	}
	return nil
}

func (f *Front) start(given order, file *os.File) error {
	if file == nil || f.listener != nil {
		return errors.New("the first message has no socket, or is not the first")
	}
	pair, err := tls.X509KeyPair([]byte(given.Certificate), []byte(given.Key))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(given.CA)) {
		return errors.New("the CA is no PEM certificate")
	}
	f.config, f.behind = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: roots}, given.Behind
	f.listener, err = net.FileListener(file)
	_ = file.Close()
	if err == nil {
		go f.accept()
	}
	return err
}

func (f *Front) accept() {
	for {
		conn, err := f.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // of files, as a rule: others may end
			f.log.Warn("cannot accept a connection", "error", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if address := addressOf(conn); f.arrives(address) {
			go f.serve(conn.(*net.TCPConn), address)
		} else {
			_ = conn.Close()
		}
	}
}

func addressOf(conn net.Conn) string {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return ""
}

func (f *Front) arrives(address string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.total >= maxUnknown || f.unknown[address] >= maxUnknownOfAddress {
		return false
	}
	f.total++
	f.unknown[address]++
	return true
}

func (f *Front) known(address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total--
	if f.unknown[address]--; f.unknown[address] == 0 {
		delete(f.unknown, address)
	}
}

// serve serves one connection to its end.
func (f *Front) serve(conn *net.TCPConn, address string) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(firstWait))
	arrival, hello, err := direct.Accept(conn, f.config)
	f.known(address)
	if errors.Is(err, direct.ErrOther) {
		f.passOn(conn, hello)
		return
	}
	if err != nil {
		f.log.Debug("handshake failed", "peer", conn.RemoteAddr(), "error", err)
		return
	}
	_ = conn.SetDeadline(time.Time{})
	f.serveDirect(conn, arrival)
}

func (f *Front) connection(id uint64) *connection {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open[id]
}

func (f *Front) say(what report) {
	text, err := json.Marshal(what)
	if err != nil {
		return
	}
	f.said.Lock()
	defer f.said.Unlock()
	for {
		if _, err = unix.Write(f.descriptor, text); err != unix.EINTR {
			return // the server's end is the end of all
		}
	}
}
