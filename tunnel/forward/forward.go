package forward

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"netvps/tunnel/activity"
	"netvps/tunnel/passwd"
)

// DialTimeout bounds a connection to a target within the session. A gateway allows a dial ten seconds in total.
const DialTimeout = 9 * time.Second

// maxListeners bounds the listeners of one SSH connection.
const maxListeners = 128

// Forwards are those of one SSH connection, made with the rights of the account that logged in.
type Forwards struct {
	Conn     ssh.Conn
	Account  passwd.Account
	Activity *activity.Tracker
	Log      *slog.Logger

	mu        sync.Mutex
	closed    bool
	listeners map[string]net.Listener // by the requested address
}

// DirectTCPIP handles a channel of type "direct-tcpip" (RFC 4254, 7.2).
func (f *Forwards) DirectTCPIP(request ssh.NewChannel) {
	var target struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if err := ssh.Unmarshal(request.ExtraData(), &target); err != nil || target.Port > 65535 {
		_ = request.Reject(ssh.ConnectionFailed, "malformed request")
		return
	}
	f.direct(request, "tcp", net.JoinHostPort(target.Host, strconv.Itoa(int(target.Port))))
}

// DirectStreamLocal handles a channel of type "direct-streamlocal@openssh.com" (OpenSSH's PROTOCOL, 2.4).
func (f *Forwards) DirectStreamLocal(request ssh.NewChannel) {
	var target struct {
		Path     string
		Reserved string
		Zero     uint32
	}
	if err := ssh.Unmarshal(request.ExtraData(), &target); err != nil {
		_ = request.Reject(ssh.ConnectionFailed, "malformed request")
		return
	}
	f.direct(request, "unix", target.Path)
}

func (f *Forwards) direct(request ssh.NewChannel, network, address string) {
	var target Duplex
	err := f.Account.Do(func() (err error) {
		target, err = Dial(context.Background(), network, address)
		return err
	})
	if err != nil {
		_ = request.Reject(ssh.ConnectionFailed, Reason(err))
		return
	}
	channel, requests, err := request.Accept()
	if err != nil {
		_ = target.Close()
		return
	}
	f.carry(channel, requests, target)
}

// carry pipes a channel, and also ends the target once the peer has closed the channel as a whole: the pipe alone would
// wait for a silent target.
func (f *Forwards) carry(channel ssh.Channel, requests <-chan *ssh.Request, target Duplex) {
	defer f.Activity.Forward()()
	go func() {
		ssh.DiscardRequests(requests)
		if half, ok := target.(interface{ CloseRead() error }); ok {
			_ = half.CloseRead()
		}
	}()
	Pipe(channel, target, f.Activity.TouchForward)
}

// Dial connects within DialTimeout.
func Dial(ctx context.Context, network, address string) (Duplex, error) {
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return conn.(Duplex), nil // TCP and Unix streams, the only networks asked for, can both half-close
}

// Reason explains a failed dial to a user.
func Reason(err error) string {
	var errno syscall.Errno
	var lookup *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &lookup):
		return strings.TrimPrefix(lookup.Error(), "lookup ")
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "no answer within " + DialTimeout.String()
	default:
		return err.Error()
	}
}
