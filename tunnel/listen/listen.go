// Package listen has the agent's SSH server on port 22 of the session's own address, and leaves that port to another
// server of the session that wants it: the image's own sshd, say.
//
// A program that wants a port which is taken finds out and ends; the kernel tells no one else. So the listener
//
//   - does not take the port while another server has it, nor until that has been gone for a while,
//   - gives the image's command a head start, whatever its server is called,
//   - lets go the moment that an SSH server of the image is executed (inotify tells of the open of its file), before
//     that has read its configuration and binds.
//
// The gateway's tunnel needs no port, and finds the agent all the same.
package listen

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	// settle is how long the port must have been free before it is taken again: a server that is restarted comes back
	// within that, and one that starts has bound by then.
	settle = 5 * time.Second
	// poll is how often to look whether another server still has the port.
	poll = time.Second
)

// Yielding serves on an address whenever no other server of the session wants its port.
type Yielding struct {
	Address   string
	HeadStart time.Duration // of the image's command
	Serve     func(net.Listener) error
	Log       *slog.Logger

	settle, poll time.Duration // other than the constants, in tests
	folders      []string

	mu       sync.Mutex
	listener net.Listener
}

// Run returns when the context ends, with the port free.
func (y *Yielding) Run(ctx context.Context) {
	if y.settle == 0 {
		y.settle, y.poll, y.folders = settle, poll, programFolders
	}
	starts, err := watchServers(ctx, y.folders)
	if err != nil {
		y.Log.Info("servers of the image are not watched for", "error", err)
	}
	defer y.letGo()
	free := time.Now().Add(y.HeadStart) // from when on the port may be taken
	for ctx.Err() == nil {
		if taken := y.takenByAnother(); taken {
			free = time.Now().Add(y.settle)
		}
		if !time.Now().Before(free) {
			y.take()
		}
		timer := time.NewTimer(y.poll)
		select {
		case <-ctx.Done():
		case <-starts:
			free = time.Now().Add(y.settle)
			if y.letGo() {
				y.Log.Info("another SSH server starts: the port is left to it", "address", y.Address)
			}
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (y *Yielding) takenByAnother() bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.listener == nil && listensOn(y.Address)
}

// take listens, unless it does already.
func (y *Yielding) take() {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.listener != nil {
		return
	}
	listener, err := net.Listen("tcp", y.Address)
	if err != nil { // taken a moment ago, or not allowed: it is tried again
		y.Log.Debug("no SSH on the session's own address", "address", y.Address, "error", err)
		return
	}
	y.listener = listener
	y.Log.Info("SSH on the session's own address", "address", y.Address)
	go func() {
		err := y.Serve(listener)
		y.mu.Lock()
		defer y.mu.Unlock()
		if y.listener == listener {
			y.listener = nil
			y.Log.Warn("SSH on the session's own address ended", "error", err)
		}
	}()
}

// letGo frees the port; connections live on. It reports whether it had it.
func (y *Yielding) letGo() bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.listener == nil {
		return false
	}
	_ = y.listener.Close()
	y.listener = nil
	return true
}
