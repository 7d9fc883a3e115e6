// Package welcome tells people and programs in a session what it is: what stays, and how it is reached again.
package welcome

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Path is where the README is in a session.
const Path = "/.netvps/README"

//go:embed README.txt
var readme string

// Greeting is what a login on a terminal shows, after the image's own message of the day.
func Greeting(name string) string {
	return fmt.Sprintf("%s is a session of netvps. Its files stay when it stops; its processes do not.\n"+
		"To come back: netvps ssh %s, or the ssh command that you used now. To read more: less %s\n", name, name, Path)
}

// Write writes the README for a session of this name. It leaves a file alone that is right, so that nothing changes
// from start to start.
func Write(path, name string) error {
	text := []byte(strings.ReplaceAll(readme, "NAME", name))
	if present, err := os.ReadFile(path); err == nil && bytes.Equal(present, text) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	part := path + ".part"
	if err := os.WriteFile(part, text, 0o444); err != nil {
		return err
	}
	if err := os.Chmod(part, 0o444); err != nil { // past the umask
		return err
	}
	return os.Rename(part, path)
}
