// Package environment makes up the environment of a login: what the container has, what /etc says, and how both are
// kept over a login shell's own files.
package environment

import (
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Files are read at each login, the later ones count: those of pam_env in Debian's /etc/pam.d/sshd.
var Files = []string{"/etc/environment", "/etc/default/locale"}

// maxFile bounds what is read of a file that anybody in the session may have written.
const maxFile = 256 << 10

// Read returns the variables of a file, "NAME=value"; a file that cannot be read has none.
func Read(path string) []string {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // else a FIFO would keep the login waiting
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
// the value are dropped, nothing is expanded. Lines without a name or "=" are passed over.
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

// unquoted drops the quote that a value begins with and the one that ends it, whichever they are: pam_env does.
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
