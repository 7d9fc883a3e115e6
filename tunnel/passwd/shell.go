package passwd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Shell is a program that runs commands.
type Shell struct {
	Path string
	Name string // its argv[0]: "bash"; with "-" before it, a login shell
}

// ErrNoShell means that the image has no program that runs commands.
var ErrNoShell = errors.New("this image has no shell (/bin/bash, /bin/sh, /bin/busybox, or one on PATH); sftp and port forwards work")

// usualShells are tried if an account's shell does not exist; names without a slash are looked up on PATH.
var usualShells = []string{"/bin/bash", "/bin/sh", "/bin/busybox", "bash", "sh", "ash", "busybox"}

// LoginShell returns the account's shell, or the first usual one that exists if it is empty or missing in the image; path
// is the PATH of the login. An account disabled by nologin or false stays disabled, unless it is root in an image where
// that would leave no login at all.
func (a Account) LoginShell(path string) (Shell, error) {
	shut := isShut(a.Shell)
	if shut && !a.OnlyLogin || !shut && isExecutable(a.Shell) {
		return Shell{Path: a.Shell, Name: applet(a.Shell)}, nil
	}
	for _, usual := range usualShells {
		if program, err := LookPath(usual, path); err == nil && isExecutable(program) {
			return Shell{Path: program, Name: applet(program)}, nil
		}
	}
	return Shell{}, ErrNoShell
}

// LookPath finds a program as execvp(3) does, on a PATH that need not be that of this process.
func LookPath(program, path string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil // execve(2) reports if it does not exist
	}
	for _, folder := range filepath.SplitList(path) {
		if full := filepath.Join(folder, program); filepath.IsAbs(full) && isExecutable(full) {
			return full, nil
		}
	}
	return "", fmt.Errorf("%q is on no folder of PATH (%s): %w", program, path, fs.ErrNotExist)
}

// isShut reports whether a shell exists to refuse logins.
func isShut(shell string) bool {
	return slices.Contains([]string{"nologin", "false"}, filepath.Base(shell))
}

// takesLogins reports whether a shell is one to log in with.
func takesLogins(shell string) bool {
	notForPeople := []string{"sync", "shutdown", "halt", "true"} // common in /etc/passwd
	return !isShut(shell) && !slices.Contains(notForPeople, filepath.Base(shell)) && isExecutable(shell)
}

// applet is the name to run a shell under: busybox runs what its name says.
func applet(path string) string {
	if name := filepath.Base(path); name != "busybox" {
		return name
	}
	return "sh"
}

// WorkingDir returns the home directory if it exists, else the root.
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
