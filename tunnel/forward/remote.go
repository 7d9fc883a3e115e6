package forward

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"
)

// acceptPause is the pause after a failed accept.
const acceptPause = 100 * time.Millisecond

// tcpBind is the payload of "tcpip-forward" and "cancel-tcpip-forward" (RFC 4254, 7.1).
type tcpBind struct {
	Host string
	Port uint32
}

// unixBind is the payload of "streamlocal-forward@openssh.com" and its cancel (OpenSSH's PROTOCOL, 2.4).
type unixBind struct{ Path string }

// Request handles a global request of the connection if it is about forwards.
func (f *Forwards) Request(request *ssh.Request) (known bool) {
	var answer []byte
	var err error
	switch request.Type {
	case "tcpip-forward":
		answer, err = f.listenTCP(request.Payload)
	case "cancel-tcpip-forward":
		var bind tcpBind
		if err = ssh.Unmarshal(request.Payload, &bind); err == nil {
			err = f.cancel(bind.key())
		}
	case "streamlocal-forward@openssh.com":
		err = f.listenUnix(request.Payload)
	case "cancel-streamlocal-forward@openssh.com":
		var bind unixBind
		if err = ssh.Unmarshal(request.Payload, &bind); err == nil {
			err = f.cancel(bind.Path)
		}
	default:
		return false
	}
	if err != nil {
		f.Log.Info("remote forward refused", "request", request.Type, "error", err)
	}
	if request.WantReply {
		_ = request.Reply(err == nil, answer)
	}
	return true
}

// Close ends all listeners and refuses later ones.
func (f *Forwards) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, listener := range f.listeners {
		_ = f.closeListener(listener)
	}
}

func (b tcpBind) key() string { return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))) }

// address is where to listen, as the client requests, like OpenSSH with "GatewayPorts clientspecified": the session's
// network belongs to its owner.
func (b tcpBind) address() string {
	host := b.Host
	if host == "*" {
		host = ""
	}
	return net.JoinHostPort(host, strconv.Itoa(int(b.Port)))
}

func (f *Forwards) listenTCP(payload []byte) ([]byte, error) {
	var bind tcpBind
	if err := ssh.Unmarshal(payload, &bind); err != nil {
		return nil, err
	}
	if bind.Port > 65535 {
		return nil, fmt.Errorf("no such port: %d", bind.Port)
	}
	listener, err := f.listen("tcp", bind.address())
	if err != nil {
		return nil, err
	}
	var answer []byte
	if bind.Port == 0 {
		bind.Port = uint32(listener.Addr().(*net.TCPAddr).Port)
		answer = ssh.Marshal(struct{ Port uint32 }{bind.Port})
	}
	return answer, f.serve(bind.key(), listener, "forwarded-tcpip", func(conn net.Conn) []byte {
		origin := conn.RemoteAddr().(*net.TCPAddr)
		return ssh.Marshal(struct {
			Host       string
			Port       uint32
			OriginHost string
			OriginPort uint32
		}{bind.Host, bind.Port, origin.IP.String(), uint32(origin.Port)})
	})
}

func (f *Forwards) listenUnix(payload []byte) error {
	var bind unixBind
	if err := ssh.Unmarshal(payload, &bind); err != nil {
		return err
	}
	listener, err := f.listen("unix", bind.Path)
	if err != nil {
		return err
	}
	return f.serve(bind.Path, listener, "forwarded-streamlocal@openssh.com", func(net.Conn) []byte {
		return ssh.Marshal(struct{ Path, Reserved string }{bind.Path, ""})
	})
}

func (f *Forwards) listen(network, address string) (listener net.Listener, err error) {
	err = f.Account.Do(func() (err error) {
		listener, err = net.Listen(network, address)
		if err == nil && network == "unix" {
			err = os.Chmod(address, 0o600) // OpenSSH's StreamLocalBindMask
		}
		return err
	})
	return listener, err
}

// closeListener acts as the account: closing a Unix listener removes its path.
func (f *Forwards) closeListener(listener net.Listener) error { return f.Account.Do(listener.Close) }

// serve owns the listener from here on, and closes it if it cannot be used.
func (f *Forwards) serve(key string, listener net.Listener, channelType string, header func(net.Conn) []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.listeners) >= maxListeners || f.listeners[key] != nil {
		_ = f.closeListener(listener)
		return errors.New("connection closed, too many listeners, or listening there already")
	}
	if f.listeners == nil {
		f.listeners = map[string]net.Listener{}
	}
	f.listeners[key] = listener
	go f.Accept(listener, channelType, header)
	return nil
}

// Accept opens a channel to the client for each incoming connection, until the listener is closed.
func (f *Forwards) Accept(listener net.Listener, channelType string, header func(net.Conn) []byte) {
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // most likely out of file descriptors, temporarily
			time.Sleep(acceptPause)
			continue
		}
		go f.offer(channelType, header(conn), conn.(Duplex))
	}
}

func (f *Forwards) offer(channelType string, header []byte, conn Duplex) {
	channel, requests, err := f.Conn.OpenChannel(channelType, header)
	if err != nil {
		_ = conn.Close()
		return
	}
	f.carry(channel, requests, conn)
}

func (f *Forwards) cancel(key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	listener := f.listeners[key]
	if listener == nil {
		return errors.New("not listening there")
	}
	delete(f.listeners, key)
	return f.closeListener(listener)
}
