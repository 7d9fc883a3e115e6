package sshd

import (
	"log/slog"
	"strings"

	"golang.org/x/crypto/ssh"

	"netvps/tunnel/forward"
	"netvps/tunnel/passwd"
)

// connection is one SSH connection that has logged in.
type connection struct {
	server   *Server
	ssh      *ssh.ServerConn
	account  passwd.Account
	login    login
	forwards *forward.Forwards
	log      *slog.Logger
}

func newConnection(s *Server, conn *ssh.ServerConn, account passwd.Account, by login, log *slog.Logger) *connection {
	return &connection{
		server: s, ssh: conn, account: account, login: by, log: log,
		forwards: &forward.Forwards{Conn: conn, Account: account, Activity: s.Activity, Log: log},
	}
}

// serve returns when the connection has ended. Its commands may keep running.
func (c *connection) serve(channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	defer c.forwards.Close()
	go c.answer(requests)
	slots := make(chan struct{}, maxChannels)
	for request := range channels {
		select {
		case slots <- struct{}{}:
			go func() {
				defer func() { <-slots }()
				c.open(request)
			}()
		default:
			_ = request.Reject(ssh.ResourceShortage, "too many channels")
		}
	}
}

func (c *connection) open(request ssh.NewChannel) {
	forwards := strings.HasPrefix(request.ChannelType(), "direct-")
	switch kind := request.ChannelType(); {
	case kind == "session" && c.account.Name == watcher:
		c.watch(request)
	case kind == "session":
		c.session(request)
	case forwards && c.login.limits.NoForwarding:
		_ = request.Reject(ssh.Prohibited, "this key may not forward ports")
	case kind == "direct-tcpip":
		c.forwards.DirectTCPIP(request)
	case kind == "direct-streamlocal@openssh.com":
		c.forwards.DirectStreamLocal(request)
	default:
		_ = request.Reject(ssh.UnknownChannelType, "unknown channel type")
	}
}

// answer handles the connection's global requests.
func (c *connection) answer(requests <-chan *ssh.Request) {
	for request := range requests {
		if !c.login.limits.NoForwarding && c.forwards.Request(request) {
			continue
		}
		if request.WantReply {
			_ = request.Reply(request.Type == "keepalive@openssh.com", nil)
		}
	}
}
