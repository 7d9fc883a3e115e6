package sshd

import (
	"net"
	"os"
	"path/filepath"

	"netvps/tunnel/passwd"
)

// agentSocket is a Unix socket in the session whose connections go to the client's SSH agent.
type agentSocket struct {
	account  passwd.Account
	path     string
	listener net.Listener
}

// forwardAgent handles "auth-agent-req@openssh.com" (OpenSSH's PROTOCOL.agent).
func (s *session) forwardAgent() bool {
	if s.agent != nil || s.started || s.login.limits.NoAgent {
		return false
	}
	agent, err := newAgentSocket(s.account)
	if err != nil {
		s.log.Warn("cannot forward the agent", "error", err)
		return false
	}
	s.agent = agent
	go s.forwards.Accept(agent.listener, "auth-agent@openssh.com", func(net.Conn) []byte { return nil })
	return true
}

// newAgentSocket acts as the account, which owns folder and socket from the start.
func newAgentSocket(account passwd.Account) (*agentSocket, error) {
	agent := &agentSocket{account: account}
	return agent, account.Do(func() error {
		folder, err := os.MkdirTemp("/tmp", "netvps-agent-") // 0700
		if err != nil {
			return err
		}
		agent.path = filepath.Join(folder, "socket")
		agent.listener, err = net.Listen("unix", agent.path)
		if err != nil {
			_ = os.Remove(folder)
		}
		return err
	})
}

func (a *agentSocket) close() {
	_ = a.account.Do(func() error {
		_ = a.listener.Close()
		return os.RemoveAll(filepath.Dir(a.path))
	})
}
