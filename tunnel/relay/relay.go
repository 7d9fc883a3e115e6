// Package relay passes the messages of SSH connections from one to the other, as the gateway's packet pipe does
// (netvps/gateway/ssh/pipe.py): it decrypts, and encrypts for the other side, everything from message 80 on.
//
// It runs as a process of its own beside the gateway's, which hands over two connections once a login is complete: their
// sockets, keys, sequence numbers, and what was received and not handled. All that is below message 80 stays the
// gateway's: it is handed the payloads, and sends its own. So a key exchange is run by the gateway, which then sends the
// new keys.
package relay

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// filesOfPair are passed with each message: the connection to its maker, the client's, and the agent's.
const filesOfPair = 3

// Serve says "ready" on a SOCK_SEQPACKET socket, and takes pairs from it, one with each message, until it is closed.
// A message is "pair", or "carry" for one whose bytes are passed on as they are (carry.go).
func Serve(descriptor int, log *slog.Logger) error {
	// Other programs of this account must not read the keys.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_DUMPABLE: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_NO_NEW_PRIVS: %w", err)
	}
	if _, err := unix.Write(descriptor, []byte("ready")); err != nil {
		return os.NewSyscallError("write", err)
	}
	for {
		kind, files, err := receiveFiles(descriptor)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if len(files) != filesOfPair { // its maker sees that its connection ended
			for _, file := range files {
				_ = file.Close()
			}
			log.Error("a connection was not taken over: raise the limit of open files")
			continue
		}
		serve := run
		if kind == "carry" {
			serve = carry
		}
		go func() {
			if err := serve(files[0], files[1], files[2]); err != nil {
				log.Warn("a relayed connection failed", "error", err)
			}
		}()
	}
}

// receiveFiles returns a message and its files; fewer if this process may not open so many.
func receiveFiles(descriptor int) (string, []*os.File, error) {
	data, oob := make([]byte, 16), make([]byte, unix.CmsgSpace(filesOfPair*4))
	n, size, _, _, err := unix.Recvmsg(descriptor, data, oob, unix.MSG_CMSG_CLOEXEC)
	for err == unix.EINTR {
		n, size, _, _, err = unix.Recvmsg(descriptor, data, oob, unix.MSG_CMSG_CLOEXEC)
	}
	if err != nil {
		return "", nil, os.NewSyscallError("recvmsg", err)
	}
	if n == 0 {
		return "", nil, io.EOF
	}
	messages, err := unix.ParseSocketControlMessage(oob[:size])
	if err != nil {
		return "", nil, err
	}
	var files []*os.File
	for _, message := range messages {
		rights, err := unix.ParseUnixRights(&message)
		if err != nil {
			return "", nil, err
		}
		for _, fd := range rights {
			if err := unix.SetNonblock(fd, true); err != nil {
				return "", nil, err
			}
			files = append(files, os.NewFile(uintptr(fd), "socket"))
		}
	}
	return string(data[:n]), files, nil
}
