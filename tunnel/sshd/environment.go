package sshd

import (
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"netvps/tunnel/environment"
)

const (
	maxSentEnv = 64
	// exactEnv is how the gateway, the only one that logs in by certificate, marks the next command as an argv. An agent of
	// an earlier version runs the same line in a shell.
	exactEnv = "NETVPS_EXEC_ARGV"
	maxMotd  = 64 << 10
)

// setEnv handles "env": accepts what an administrator would list under AcceptEnv.
func (s *session) setEnv(payload []byte) bool {
	var variable struct{ Name, Value string }
	if ssh.Unmarshal(payload, &variable) == nil && variable.Name == exactEnv && s.login.credential.ca {
		s.exact = true
		return true
	}
	if ssh.Unmarshal(payload, &variable) != nil || len(s.sent) >= maxSentEnv || !mayBeSent(variable.Name) {
		return false
	}
	s.sent = append(s.sent, variable.Name+"="+variable.Value)
	return true
}

func mayBeSent(name string) bool {
	if strings.ContainsAny(name, "=\x00") {
		return false
	}
	return slices.Contains([]string{"LANG", "TERM", "COLORTERM"}, name) ||
		strings.HasPrefix(name, "LC_") || strings.HasPrefix(name, "NETVPS_")
}

// environment builds that of a login: the machine's and the client's, then the account's and the connection's.
func (s *session) environment() environment.Variables {
	variables := environment.OfMachine(s.server.Environ, s.sent)
	shell, _ := s.account.LoginShell(variables["PATH"]) // without one, SHELL is empty
	maps.Copy(variables, environment.Variables{
		"HOME": s.account.Home, "USER": s.account.Name, "LOGNAME": s.account.Name, "SHELL": shell.Path,
	})
	client, server := hostPort(s.ssh.RemoteAddr()), hostPort(s.ssh.LocalAddr())
	_, serverPort, _ := strings.Cut(server, " ")
	variables["SSH_CLIENT"] = client + " " + serverPort // without it, bash ignores ~/.bashrc in `ssh NAME COMMAND`
	variables["SSH_CONNECTION"] = client + " " + server
	if s.terminal != nil {
		variables["TERM"] = s.terminal.term
		variables["SSH_TTY"] = s.terminal.slave.Name()
	}
	if s.agent != nil {
		variables["SSH_AUTH_SOCK"] = s.agent.path
	}
	if s.display != nil {
		variables["DISPLAY"] = s.display.name
		if s.display.authority != "" {
			variables["XAUTHORITY"] = s.display.authority
		}
	}
	if s.original != nil {
		variables["SSH_ORIGINAL_COMMAND"] = *s.original
	}
	return variables
}

// hostPort returns "ADDRESS PORT" as in SSH_CONNECTION; OpenSSH writes UNKNOWN if there is no address.
func hostPort(address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		return "UNKNOWN 65535"
	}
	return host + " " + port
}

// greet shows the image's message of the day and the greeting, unless the account has a ~/.hushlogin.
func (s *session) greet() {
	if _, err := os.Stat(filepath.Join(s.account.Home, ".hushlogin")); err == nil {
		return
	}
	text := ""
	if motd, err := os.Open("/etc/motd"); err == nil {
		defer func() { _ = motd.Close() }()
		content, _ := io.ReadAll(io.LimitReader(motd, maxMotd))
		text = string(content)
	}
	text += s.server.Greeting + s.server.notice.Load().GetGreeting()
	_, _ = fmt.Fprint(s.channel, strings.ReplaceAll(text, "\n", "\r\n"))
}
