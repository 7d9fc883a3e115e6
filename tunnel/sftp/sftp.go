// Package sftp serves files over standard input and output. The agent runs it as a child with the login's rights, so
// the kernel decides what may be read and written; the image needs no sftp-server.
package sftp

import (
	"errors"
	"io"
	"os"

	"github.com/pkg/sftp"
)

type stdio struct {
	io.Reader
	io.WriteCloser
}

// Serve answers one client until it is gone; relative paths start at the working directory.
func Serve() error {
	home, err := os.Getwd()
	if err != nil {
		return err
	}
	server, err := sftp.NewServer(stdio{os.Stdin, os.Stdout}, sftp.WithAllocator(), sftp.WithServerWorkingDirectory(home))
	if err != nil {
		return err
	}
	if err := server.Serve(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
