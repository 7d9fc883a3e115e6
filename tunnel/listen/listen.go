// Package listen runs the agent's SSH server on port 22 of the session's own address, and yields that port to another
// server of the session that needs it, such as the image's own sshd.
//
// A program that needs a port in use fails and ends; the kernel notifies no other process. So the listener
//
//   - does not take the port while another server has it, nor until that has been gone for a while,
//   - gives the image's command a head start, whatever its server is called,
//   - releases the port as soon as an SSH server of the image is executed (inotify reports that its file is opened),
//     before that has read its configuration and binds.
//
// The gateway's tunnel needs no port and works in any case.
package listen

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	// settle is how long the port must have been free before it is taken again: a restarted server binds within that
	// time, and so does one that starts.
	settle = 5 * time.Second
	// poll is the interval of checks whether another server still has the port.
	poll = time.Second
)

// Yielding serves on an address whenever no other server of the session needs its port.
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
		y.Log.Info("cannot watch for servers of the image", "error", err)
	}
	defer y.letGo()
	free := time.Now().Add(y.HeadStart) // when the port may be taken
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
				y.Log.Info("yielding the port to another SSH server", "address", y.Address)
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
	if err != nil { // in use since, or not permitted: retried
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

// letGo frees the port and reports whether it had it; connections continue.
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
