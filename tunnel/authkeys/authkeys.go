// Package authkeys reads ~/.ssh/authorized_keys as sshd(8) does, "AUTHORIZED_KEYS FILE FORMAT".
package authkeys

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"netvps/tunnel/passwd"
)

// files are sshd's defaults for AuthorizedKeysFile, relative to the home directory.
var files = []string{".ssh/authorized_keys", ".ssh/authorized_keys2"}

// ErrNotListed means that no line lists the key, or none that is valid now.
var ErrNotListed = errors.New("the key is in no line of ~/.ssh/authorized_keys that holds for this connection")

// Limits are the restrictions that a line's options impose.
type Limits struct {
	NoTerminal, NoForwarding, NoAgent, NoX11 bool

	Forced  bool   // Command runs, whatever the client requests
	Command string // by the login's shell
}

// Find looks a key up for an account, a source address and a time. The first line with the key that is valid counts;
// a line with an unknown or unsupported option is not valid. The error says why no line is.
func Find(account passwd.Account, key ssh.PublicKey, from netip.Addr, now time.Time) (Limits, error) {
	reasons := ErrNotListed
	for _, name := range files {
		var text []byte
		err := account.Do(func() (err error) {
			text, err = read(account, filepath.Join(account.Home, name))
			return err
		})
		if err != nil {
			reasons = errors.Join(reasons, err)
			continue
		}
		limits, err := search(text, key, from.Unmap(), now)
		if err == nil {
			return limits, nil
		}
		reasons = errors.Join(reasons, err)
	}
	return Limits{}, reasons
}

// search goes through the lines of a file.
func search(text []byte, key ssh.PublicKey, from netip.Addr, now time.Time) (Limits, error) {
	wanted := key.Marshal()
	reasons := ErrNotListed
	for number, line := range bytes.Split(text, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' || len(line) > maxLine {
			continue
		}
		found, _, options, _, err := ssh.ParseAuthorizedKey(line)
		if err != nil || !bytes.Equal(found.Marshal(), wanted) {
			continue
		}
		limits, err := parseOptions(options, from, now)
		if err == nil {
			return limits, nil
		}
		reasons = errors.Join(reasons, fmt.Errorf("line %d: %w", number+1, err))
	}
	return Limits{}, reasons
}

// parseOptions returns the limits of the options; an error if they exclude this connection or are not understood.
func parseOptions(options []string, from netip.Addr, now time.Time) (limits Limits, err error) {
	sources := false
	for _, option := range options {
		name, quoted, hasValue := strings.Cut(option, "=")
		name = strings.ToLower(name)
		if !hasValue {
			if !limits.flag(name) {
				return limits, fmt.Errorf("option %q is not supported", name)
			}
			continue
		}
		value, ok := unquoted(quoted)
		switch {
		case !ok:
			return limits, fmt.Errorf("the value of option %q is not quoted", name)
		case name == "command" && !limits.Forced:
			limits.Forced, limits.Command = true, value
		case name == "from" && !sources:
			sources = true
			err = matchSource(value, from)
		case name == "expiry-time":
			err = checkExpiry(value, now)
		case name == "environment", name == "tunnel": // sshd ignores the first by default; there are no tunnels here
		default:
			return limits, fmt.Errorf("option %q is not supported, or given twice", name)
		}
		if err != nil {
			return limits, fmt.Errorf("option %q: %w", name, err)
		}
	}
	return limits, nil
}

// flag parses an option without a value; false if it is unknown.
func (l *Limits) flag(name string) bool {
	switch name {
	case "restrict":
		l.NoTerminal, l.NoForwarding, l.NoAgent, l.NoX11 = true, true, true, true
	case "pty", "no-pty":
		l.NoTerminal = name[0] == 'n'
	case "port-forwarding", "no-port-forwarding":
		l.NoForwarding = name[0] == 'n'
	case "agent-forwarding", "no-agent-forwarding":
		l.NoAgent = name[0] == 'n'
	case "x11-forwarding", "no-x11-forwarding":
		l.NoX11 = name[0] == 'n'
	case "user-rc", "no-user-rc": // ~/.ssh/rc is not run
	case "no-touch-required": // ignored: the touch is still required
	default:
		return false
	}
	return true
}

// unquoted removes the quotes of a value; inside, \" is a quote.
func unquoted(text string) (string, bool) {
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return "", false
	}
	inner := text[1 : len(text)-1]
	if strings.Contains(strings.ReplaceAll(inner, `\"`, ""), `"`) || strings.ContainsRune(inner, 0) {
		return "", false
	}
	return strings.ReplaceAll(inner, `\"`, `"`), true
}
