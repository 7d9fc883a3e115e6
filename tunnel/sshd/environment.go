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
)

const (
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	defaultLang = "C.UTF-8"
	maxSentEnv  = 64
	maxMotd     = 64 << 10
)

// setEnv answers "env": what an administrator would list under AcceptEnv.
func (s *session) setEnv(payload []byte) bool {
	var variable struct{ Name, Value string }
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

// environment is that of a login: the container's own, then the account's, the client's, the connection's.
func (s *session) environment() []string {
	variables := map[string]string{"PATH": defaultPath, "LANG": defaultLang}
	set := func(pairs []string) {
		for _, pair := range pairs {
			if name, value, ok := strings.Cut(pair, "="); ok && !strings.Contains(value, "\x00") {
				variables[name] = value
			}
		}
	}
	set(os.Environ())
	shell, _ := s.account.LoginShell() // without one, SHELL is empty
	maps.Copy(variables, map[string]string{
		"HOME": s.account.Home, "USER": s.account.Name, "LOGNAME": s.account.Name, "SHELL": shell.Path,
	})
	delete(variables, "TERM")
	set(s.sent)
	client, server := hostPort(s.ssh.RemoteAddr()), hostPort(s.ssh.LocalAddr())
	variables["SSH_CONNECTION"] = client + " " + server
	if s.terminal != nil {
		variables["TERM"] = s.terminal.term
		variables["SSH_TTY"] = s.terminal.slave.Name()
	}
	if s.agent != nil {
		variables["SSH_AUTH_SOCK"] = s.agent.path
	}
	environment := make([]string, 0, len(variables))
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		environment = append(environment, name+"="+variables[name])
	}
	return environment
}

// hostPort is "ADDRESS PORT" as in SSH_CONNECTION; OpenSSH writes UNKNOWN where there is no address.
func hostPort(address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		return "UNKNOWN 65535"
	}
	return host + " " + port
}

// greet shows the message of the day, unless the account has a ~/.hushlogin.
func (s *session) greet() {
	if _, err := os.Stat(filepath.Join(s.account.Home, ".hushlogin")); err == nil {
		return
	}
	motd, err := os.Open("/etc/motd")
	if err != nil {
		return
	}
	defer func() { _ = motd.Close() }()
	text, _ := io.ReadAll(io.LimitReader(motd, maxMotd))
	_, _ = fmt.Fprint(s.channel, strings.ReplaceAll(string(text), "\n", "\r\n"))
}
