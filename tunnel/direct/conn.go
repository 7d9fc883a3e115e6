// Package direct is the connections that agents make for dials, beside gRPC: one TLS connection for each, to the tunnel's
// port, which a program (tunnel/front) shares between these and gRPC by their ALPN.
//
// After the handshake the agent sends the dial's id, after its length in one byte. The answer is one byte: accepted, or
// the connection ends. From then on all bytes belong to the connection into the session; TLS's close_notify ends one
// direction, and TCP's flow control is the only one.
package direct

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// Protocol is the name in ALPN.
const Protocol = "netvps-dial/1"

const (
	accepted = 1
	maxID    = 64
)

// ErrOther means that a client does not speak Protocol.
var ErrOther = errors.New("another protocol")

var errPlain = errors.New("the server does not know " + Protocol)

// Conn is a direct connection. Read and Write may be called by one goroutine each; WriteTo and ReadFrom move many records
// at once.
type Conn struct {
	*tls.Conn
	records *records
}

// Dial makes a handshake on a connection to the tunnel's port, and answers a dial. It closes raw unless it succeeds.
func Dial(ctx context.Context, raw net.Conn, config *tls.Config, dialID string) (*Conn, error) {
	conn, err := dial(ctx, raw, config, dialID)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

func dial(ctx context.Context, raw net.Conn, config *tls.Config, dialID string) (*Conn, error) {
	under, ok := raw.(socket)
	if !ok || len(dialID) == 0 || len(dialID) > maxID {
		return nil, fmt.Errorf("no socket, or a dial id of %d bytes", len(dialID))
	}
	below, err := newRecords(under)
	if err != nil {
		return nil, err
	}
	config = config.Clone()
	config.NextProtos, config.MinVersion, config.DynamicRecordSizingDisabled = []string{Protocol}, tls.VersionTLS13, true
	conn := &Conn{Conn: tls.Client(below, config), records: below}
	if deadline, ok := ctx.Deadline(); ok {
		_ = raw.SetDeadline(deadline)
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if conn.ConnectionState().NegotiatedProtocol != Protocol {
		return nil, errPlain
	}
	if _, err := conn.Write(append([]byte{byte(len(dialID))}, dialID...)); err != nil {
		return nil, err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return nil, err
	}
	if answer[0] != accepted {
		return nil, fmt.Errorf("answer %d", answer[0])
	}
	return conn, raw.SetDeadline(time.Time{})
}

// Arrival is an agent's connection before it is accepted.
type Arrival struct {
	Conn     *Conn
	Identity string // the only URI of its certificate
	DialID   string
}

// Accept makes the server's handshake and reads the dial's id, until a deadline that the caller has set on raw. For a
// client of another protocol it returns ErrOther, and what that one has sent; nothing was sent to it then.
func Accept(raw net.Conn, config *tls.Config) (*Arrival, []byte, error) {
	under, ok := raw.(socket)
	if !ok {
		return nil, nil, errors.New("no socket")
	}
	below, err := newRecords(under)
	if err != nil {
		return nil, nil, err
	}
	below.keeping = true
	config = config.Clone()
	config.NextProtos, config.MinVersion, config.DynamicRecordSizingDisabled = []string{Protocol}, tls.VersionTLS13, true
	config.ClientAuth, config.SessionTicketsDisabled = tls.RequireAndVerifyClientCert, true
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		for _, name := range hello.SupportedProtos {
			if name == Protocol {
				below.keeping, below.kept = false, nil
				return nil, nil
			}
		}
		below.deaf = true // TLS would send an alert
		return nil, ErrOther
	}
	conn := &Conn{Conn: tls.Server(below, config), records: below}
	if err := conn.Handshake(); err != nil {
		if errors.Is(err, ErrOther) {
			return nil, below.unread(), ErrOther
		}
		return nil, nil, err
	}
	identity, err := identityOf(conn.ConnectionState().PeerCertificates)
	if err != nil {
		return nil, nil, err
	}
	dialID, err := readID(conn)
	if err != nil {
		return nil, nil, err
	}
	return &Arrival{Conn: conn, Identity: identity, DialID: dialID}, nil, nil
}

func identityOf(chain []*x509.Certificate) (string, error) {
	if len(chain) == 0 || len(chain[0].URIs) != 1 {
		return "", errors.New("the certificate names no single identity")
	}
	return chain[0].URIs[0].String(), nil
}

func readID(from io.Reader) (string, error) {
	var size [1]byte
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return "", err
	}
	if size[0] == 0 || size[0] > maxID {
		return "", fmt.Errorf("a dial id of %d bytes", size[0])
	}
	id := make([]byte, size[0])
	_, err := io.ReadFull(from, id)
	return string(id), err
}

// Accept tells the agent that its dial is joined.
func (a *Arrival) Accept() error {
	_, err := a.Conn.Write([]byte{accepted})
	return err
}

// Write sends the records of p in as few writes as possible.
func (c *Conn) Write(p []byte) (int, error) {
	if len(p) <= maxPlain {
		return c.Conn.Write(p)
	}
	c.records.cork()
	n, err := c.Conn.Write(p)
	if failed := c.records.uncork(); err == nil {
		err = failed
	}
	return n, err
}

// WriteTo copies to w what the peer sends, until it ends its direction. While idle it has no buffer.
func (c *Conn) WriteTo(w io.Writer) (total int64, err error) {
	for {
		n, err := c.pass(w)
		total += int64(n)
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return total, err
		}
	}
}

func (c *Conn) pass(w io.Writer) (int, error) {
	if err := c.records.wait(); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // without a close_notify
		}
		return 0, err
	}
	buffer := getBuffer()
	defer putBuffer(buffer)
	size := 0
	var ended error
	for size == 0 || size+maxPlain < len(buffer) && c.records.complete() {
		n, err := c.Conn.Read(buffer[size:])
		if size += n; err != nil {
			ended = err
			break
		}
	}
	if size > 0 {
		if _, err := w.Write(buffer[:size]); err != nil {
			return 0, err
		}
	}
	return size, ended
}

// SendFrom copies what a socket receives to the peer, until that ends. While idle it has no buffer.
func (c *Conn) SendFrom(from syscall.Conn) (total int64, err error) {
	raw, err := from.SyscallConn()
	if err != nil {
		return 0, err
	}
	for {
		buffer, err := read(raw)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		n, err := c.Write(buffer)
		putBuffer(buffer)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
}
