// Package sshd is the session's SSH server: shells, commands, sftp and forwards, on golang.org/x/crypto/ssh.
package sshd

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"netvps/tunnel/activity"
	"netvps/tunnel/api"
	"netvps/tunnel/passwd"
	"netvps/tunnel/terminals"
)

const (
	loginTime     = 30 * time.Second // to log in
	maxLogins     = 64               // logging in at a time, on the session's own address
	maxChannels   = 256              // a connection
	maxAuthTries  = 6
	acceptPause   = 100 * time.Millisecond
	serverVersion = "SSH-2.0-netvps"
)

// ciphers prefers AES-GCM: it has hardware support, and no other cipher saturates a fast link.
var ciphers = []string{
	ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305,
	ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
}

// Server serves SSH connections from the network and from the tunnel.
type Server struct {
	SessionUID string
	HostKey    ssh.Signer
	Users      passwd.Database
	Activity   *activity.Tracker
	Environ    []string // of the container: set by image and owner
	Sftp       []string // argv of the program that serves sftp on its standard input and output
	UDP        []string // argv of the program that relays datagrams on its standard input and output
	Greeting   string   // lines that a login on a terminal shows after /etc/motd
	Terminals  terminals.Registry
	Epoch      func() int64 // of this container's place; 0 if it is not known
	Log        *slog.Logger

	policy    atomic.Pointer[policy]
	notice    atomic.Pointer[api.SleepNotice]
	mu        sync.Mutex
	conns     map[*connection]struct{}
	terminals map[string]struct{} // paths of those that programs run on
}

// Apply applies a config. Connections whose key or CA it no longer contains are closed.
func (s *Server) Apply(config *api.AgentConfig) {
	next := newPolicy(config, s.Log)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy.Store(next)
	for conn := range s.conns {
		if !next.holds(conn.login.credential) {
			conn.log.Info("closed: its key has been removed")
			_ = conn.ssh.Close()
		}
	}
}

// Serve accepts connections until the listener is closed.
func (s *Server) Serve(listener net.Listener) error {
	logins := make(chan struct{}, maxLogins)
	for {
		logins <- struct{}{}
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			<-logins
			time.Sleep(acceptPause)
			continue
		}
		go s.serve(conn, true, func() { <-logins })
	}
}

// ServeConn serves one connection of the gateway's tunnel to its end.
func (s *Server) ServeConn(conn net.Conn) { s.serve(conn, false, func() {}) }

// serve calls loggedIn once authentication has succeeded or failed.
func (s *Server) serve(raw net.Conn, direct bool, loggedIn func()) {
	log := s.Log.With("from", raw.RemoteAddr().String())
	timer := time.AfterFunc(loginTime, func() { _ = raw.Close() })
	conn, channels, requests, err := ssh.NewServerConn(raw, s.config(direct, log))
	timer.Stop()
	loggedIn()
	if err != nil {
		_ = raw.Close()
		log.Info("login refused", "error", err)
		return
	}
	defer func() { _ = conn.Close() }()
	c, err := s.admit(conn, log)
	if err != nil {
		log.Info("login refused", "error", err)
		return
	}
	c.serve(channels, requests)
	s.forget(c)
}

// config is created for each connection, as the host certificate changes.
func (s *Server) config(direct bool, log *slog.Logger) *ssh.ServerConfig {
	config := &ssh.ServerConfig{
		Config:            ssh.Config{Ciphers: ciphers},
		MaxAuthTries:      maxAuthTries,
		PublicKeyCallback: s.authenticate(direct),
		ServerVersion:     s.version(),
		// The library's default has RSA with SHA-1 and DSA, too.
		PublicKeyAuthAlgorithms: ssh.SupportedAlgorithms().PublicKeyAuths,
	}
	config.AddHostKey(s.HostKey)
	cert := s.policy.Load().hostCert
	if cert == nil || uint64(time.Now().Unix()) >= cert.ValidBefore { // clients reject an expired one together with the key
		return config
	}
	signer, err := ssh.NewCertSigner(cert, s.HostKey)
	if err != nil {
		log.Warn("host certificate is not for this host key", "error", err)
		return config
	}
	config.AddHostKey(signer)
	return config
}

// version names the epoch, by which a gateway tells this container from the one that the session has elsewhere since then.
func (s *Server) version() string {
	if s.Epoch == nil {
		return serverVersion
	}
	return fmt.Sprintf("%s epoch=%d", serverVersion, s.Epoch())
}

// admit registers a connection that has logged in. It checks the policy again: the key may have been removed since.
func (s *Server) admit(conn *ssh.ServerConn, log *slog.Logger) (*connection, error) {
	account, err := s.account(conn.User())
	if err != nil {
		return nil, err
	}
	found, ok := conn.Permissions.ExtraData[loginKey{}].(login)
	if !ok {
		return nil, fmt.Errorf("authenticated as %q without a credential", conn.User())
	}
	c := newConnection(s, conn, account, found, log.With("user", account.Name))
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.policy.Load().holds(found.credential) {
		return nil, errNotAuthorized
	}
	if s.conns == nil {
		s.conns = map[*connection]struct{}{}
	}
	s.conns[c] = struct{}{}
	c.log.Info("logged in", "by", found.by)
	return c, nil
}

// account finds the account of a login; that of one that only watches is none.
func (s *Server) account(user string) (passwd.Account, error) {
	if user == watcher {
		return passwd.Account{Name: watcher}, nil
	}
	return s.Users.Lookup(user)
}

func (s *Server) forget(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	c.log.Info("logged out")
}
