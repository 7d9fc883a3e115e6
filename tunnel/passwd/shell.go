package passwd

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
)

// Shell is a program that takes commands.
type Shell struct {
	Path string
	Name string // its argv[0]: "bash"; with "-" before it, a login shell
}

// ErrNoShell says that the image has no program that takes commands.
var ErrNoShell = errors.New("this image has no shell (/bin/bash, /bin/sh or /bin/busybox); sftp and port forwards work")

// LoginShell is the account's shell, or the first usual one that exists where that is empty or missing from the
// image. An account shut by nologin or false stays shut.
func (a Account) LoginShell() (Shell, error) {
	shut := slices.Contains([]string{"nologin", "false"}, filepath.Base(a.Shell))
	if isExecutable(a.Shell) || shut {
		return Shell{Path: a.Shell, Name: applet(a.Shell)}, nil
	}
	for _, path := range []string{"/bin/bash", "/bin/sh", "/bin/busybox"} {
		if isExecutable(path) {
			return Shell{Path: path, Name: applet(path)}, nil
		}
	}
	return Shell{}, ErrNoShell
}

// applet is the name to run a shell under: busybox does what its name says.
func applet(path string) string {
	if name := filepath.Base(path); name != "busybox" {
		return name
	}
	return "sh"
}

// WorkingDir is the home if it is there, else the root.
func (a Account) WorkingDir() string {
	if isDir(a.Home) {
		return a.Home
	}
	return "/"
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
