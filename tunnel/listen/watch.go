package listen

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

var (
	// programFolders are where distributions install servers; not /usr/bin, where each command would wake the agent.
	programFolders = []string{"/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/local/bin"}
	serverNames    = []string{"sshd", "dropbear", "dropbearmulti", "tinysshd", "lsh"}
)

// watchServers signals each SSH server that is executed from one of the folders, until the context ends.
func watchServers(ctx context.Context, folders []string) (<-chan struct{}, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "inotify")
	for _, folder := range folders {
		if _, watchErr := unix.InotifyAddWatch(fd, folder, unix.IN_OPEN|unix.IN_ONLYDIR); !errors.Is(watchErr, fs.ErrNotExist) {
			err = errors.Join(err, watchErr)
		}
	}
	starts := make(chan struct{}, 1)
	context.AfterFunc(ctx, func() { _ = file.Close() })
	go func() {
		buffer := make([]byte, 64<<10)
		for {
			n, err := file.Read(buffer)
			if err != nil {
				return // closed
			}
			if slices.ContainsFunc(openedNames(buffer[:n]), isServer) {
				select {
				case starts <- struct{}{}:
				default: // signalled already
				}
			}
		}
	}()
	return starts, err
}

func isServer(name string) bool { return slices.Contains(serverNames, name) }

// openedNames returns the file names in inotify(7) events.
func openedNames(events []byte) (names []string) {
	for len(events) >= unix.SizeofInotifyEvent {
		length := int(binary.NativeEndian.Uint32(events[12:]))
		rest := events[unix.SizeofInotifyEvent:]
		if length > len(rest) {
			return names
		}
		name, _, _ := bytes.Cut(rest[:length], []byte{0})
		names = append(names, string(name))
		events = rest[length:]
	}
	return names
}
