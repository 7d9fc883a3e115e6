package front

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"netvps/tunnel/direct"
)

// goneAfter is TCP_USER_TIMEOUT of gRPC's connections, as gRPC itself sets it.
const goneAfter = 10 * time.Second

// passOn joins a connection with gRPC's socket, from an abstract address that tells the peer's.
func (f *Front) passOn(conn *net.TCPConn, hello []byte) {
	name := fmt.Sprintf("@netvps/link/%s/%s", conn.RemoteAddr(), rand.Text()[:12])
	behind, err := net.DialUnix("unix", &net.UnixAddr{Name: name, Net: "unix"}, &net.UnixAddr{Name: f.behind, Net: "unix"})
	if err != nil {
		f.log.Debug("gRPC does not accept connections", "error", err)
		return
	}
	defer func() { _ = behind.Close() }()
	set(conn, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(goneAfter/time.Millisecond))
	if _, err := behind.Write(hello); err != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	both(
		func() error { _, err := io.Copy(behind, conn); _ = behind.CloseWrite(); return err },
		func() error { _, err := io.Copy(conn, behind); _ = conn.CloseWrite(); return err },
		nil,
	)
}

// both runs two directions. It returns when both have ended, one has failed, the other one went on for too long, or over
// is closed; the caller closes the connections, which ends what is left.
func both(up, down func() error, over <-chan struct{}) {
	done := make(chan error, 2)
	go func() { done <- up() }()
	go func() { done <- down() }()
	select {
	case err := <-done:
		if err != nil {
			return
		}
	case <-over:
		return
	}
	select {
	case <-done:
	case <-over:
	case <-time.After(linger):
	}
}

// serveDirect asks the server about a connection, and joins it.
func (f *Front) serveDirect(conn *net.TCPConn, arrival *direct.Arrival) {
	c := f.add(arrival)
	if c == nil {
		f.log.Warn("an agent opens too many connections", "identity", arrival.Identity)
		return
	}
	defer f.remove(c)
	keepAlive(conn)
	f.say(report{Arrived: c.id, Identity: arrival.Identity, Dial: arrival.DialID})
	select {
	case given := <-c.answer:
		f.stopsWaiting(c)
		c.join(given, f)
	case <-c.over:
	case <-time.After(answerWait):
		f.log.Warn("the server did not answer about a connection", "identity", arrival.Identity)
	}
}

// add counts a connection; nil if its identity has too many that wait.
func (f *Front) add(arrival *direct.Arrival) *connection {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting[arrival.Identity] >= maxWaiting {
		return nil
	}
	f.waiting[arrival.Identity]++
	f.last++
	c := &connection{id: f.last, arrival: arrival, answer: make(chan answer, 1), over: make(chan struct{})}
	c.waits = true
	f.open[c.id] = c
	return c
}

func (f *Front) stopsWaiting(c *connection) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !c.waits {
		return
	}
	c.waits = false
	if f.waiting[c.arrival.Identity]--; f.waiting[c.arrival.Identity] == 0 {
		delete(f.waiting, c.arrival.Identity)
	}
}

// remove forgets a connection, and closes a socket that came too late.
func (f *Front) remove(c *connection) {
	f.stopsWaiting(c)
	f.mu.Lock()
	delete(f.open, c.id)
	f.mu.Unlock()
	select {
	case given := <-c.answer:
		_ = given.file.Close()
	default:
	}
	f.say(report{Ended: c.id})
}

// join hands a socket to the connection that it is for.
func (f *Front) join(given order, file *os.File) {
	if file == nil {
		f.log.Error("a socket is missing: raise the limit of open files", "connection", given.Join)
		if found := f.connection(given.Join); found != nil {
			found.end()
		}
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if found := f.open[given.Join]; found != nil {
		select {
		case found.answer <- answer{file, given.First}:
			return
		default: // it has one
		}
	}
	_ = file.Close()
}

// join copies in both directions until the end.
func (c *connection) join(given answer, f *Front) {
	made, err := net.FileConn(given.file)
	_ = given.file.Close()
	if err != nil {
		f.log.Error("a connection cannot be joined", "error", err)
		return
	}
	defer func() { _ = made.Close() }()
	near, ok := made.(*net.UnixConn)
	if !ok {
		f.log.Error("a connection is to be joined with something else than a Unix socket")
		return
	}
	if err := c.arrival.Accept(); err != nil {
		return
	}
	if _, err := near.Write(given.first); err != nil {
		return
	}
	far := c.arrival.Conn
	both(
		func() error { _, err := far.WriteTo(near); _ = near.CloseWrite(); return err },
		func() error { _, err := far.SendFrom(near); _ = far.CloseWrite(); return err },
		c.over,
	)
	_ = far.SetWriteDeadline(time.Now().Add(time.Second)) // a peer that does not read gets no close_notify
	_ = far.Close()
}

// keepAlive notices a machine that vanished: within a minute while idle, within two while sending, as those of sessions on
// the overlay (netvps/gateway/tunnel/overlay_stream.py): a paused session accepts no data either.
func keepAlive(conn *net.TCPConn) {
	set(conn, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	set(conn, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 20)
	set(conn, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 10)
	set(conn, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4)
	set(conn, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 120_000)
}

func set(conn *net.TCPConn, level, option, value int) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), level, option, value) })
}
