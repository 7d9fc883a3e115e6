// Package sftp serves files over standard input and output. The agent runs it as a child with the login's rights, so the
// kernel decides what may be read and written; the image needs no sftp-server.
package sftp

import (
	"errors"
	"io"
	"os"

	"github.com/pkg/sftp"

	"netvps/tunnel/passwd"
)

// maxData is the most that one read or write carries, as OpenSSH's sftp-server has it.
const maxData = 255 << 10

// Serve answers one client until it disconnects. Relative paths start at the working directory, which pkg/sftp does not
// get, since it would also rewrite the targets of symbolic links.
func Serve() error { return serve(os.Stdin, os.Stdout, passwd.Database{Root: "/"}) }

func serve(in io.Reader, out io.WriteCloser, users passwd.Database) error {
	filter := newFilter(in, out, users)
	server, err := sftp.NewServer(filter, sftp.WithAllocator(), sftp.WithMaxTxPacket(maxData))
	if err != nil {
		return err
	}
	if err := server.Serve(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
