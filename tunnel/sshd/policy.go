package sshd

import (
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/crypto/ssh"

	"netvps/tunnel/api"
)

// policy is a parsed AgentConfig: who may log in, and how the host identifies itself. It is immutable.
type policy struct {
	keys     map[string]bool // by wire form
	cas      map[string]bool // by wire form
	people   map[string]bool // principals that log in as any user
	hostCert *ssh.Certificate
}

// newPolicy skips and logs what it cannot use: one bad key must not lock out the others.
func newPolicy(config *api.AgentConfig, log *slog.Logger) *policy {
	p := &policy{
		keys:   parseKeys(config.GetAuthorizedKeys(), "authorized key", log),
		cas:    parseKeys(config.GetUserCaKeys(), "user CA key", log),
		people: map[string]bool{},
	}
	for _, principal := range config.GetUserPrincipals() {
		p.people[principal] = true
	}
	if text := config.GetHostCertificate(); text != "" {
		cert, err := parseHostCertificate(text)
		if err != nil {
			log.Warn("host certificate ignored", "error", err)
		}
		p.hostCert = cert
	}
	return p
}

func parseKeys(lines []string, what string, log *slog.Logger) map[string]bool {
	keys := make(map[string]bool, len(lines))
	for i, line := range lines {
		key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err == nil && len(options) > 0 {
			// An option restricts the key; accepting the key without it would grant more than was meant.
			err = fmt.Errorf("options are not supported: %q", options)
		}
		if err != nil {
			log.Warn(what+" ignored", "index", i, "error", err)
			continue
		}
		keys[string(key.Marshal())] = true
	}
	return keys
}

func parseHostCertificate(text string) (*ssh.Certificate, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
		return nil, err
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok || cert.CertType != ssh.HostCert {
		return nil, errors.New("not a host certificate")
	}
	return cert, nil
}

// credential is what a connection logged in with; it must stay valid for the life of the connection.
type credential struct {
	key    string // wire form of the authorized key, or of the CA that signed the certificate
	ca     bool
	person string // principal of a person's certificate; "" for one that is for this session
	own    bool   // of the account's authorized_keys, checked only at login, as in sshd
}

func (p *policy) holds(c credential) bool {
	if c.own {
		return true
	}
	if c.ca {
		return p.cas[c.key] && (c.person == "" || p.people[c.person])
	}
	return p.keys[c.key]
}
