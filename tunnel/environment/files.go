// Package environment builds the environment of a login: the container's variables, those of /etc, and how both survive
// a login shell's own files.
package environment

import (
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Files are read at each login; later ones win: those of pam_env in Debian's /etc/pam.d/sshd.
var Files = []string{"/etc/environment", "/etc/default/locale"}

// maxFile bounds what is read of a file that any process in the session may have written.
const maxFile = 256 << 10

// Read returns the variables of a file, "NAME=value"; none if it cannot be read.
func Read(path string) []string {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not block the login
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return nil
	}
	return Parse(string(text))
}

// Parse reads "NAME=value" lines as pam_env(8) does: "#" begins a comment, "export" may precede the name, quotes around
// the value are dropped, nothing is expanded. Lines without a name or "=" are ignored.
func Parse(text string) []string {
	var variables []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || !isName(name) || strings.Contains(value, "\x00") {
			continue
		}
		variables = append(variables, name+"="+unquoted(value))
	}
	return variables
}

func isName(name string) bool {
	for _, c := range name {
		if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return name != ""
}

// unquoted drops a quote at the start of a value and one at its end, whichever they are, as pam_env does.
func unquoted(value string) string {
	if value == "" || !strings.ContainsAny(value[:1], `'"`) {
		return value
	}
	value = value[1:]
	if value != "" && strings.ContainsAny(value[len(value)-1:], `'"`) {
		value = value[:len(value)-1]
	}
	return value
}
