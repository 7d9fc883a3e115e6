package sshd

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"netvps/tunnel/forward"
	"netvps/tunnel/terminals"
)

// When its program has ended, a terminal's remaining output is read until nothing arrives for drainIdle; output of
// background processes is not waited for.
const (
	drainIdle  = 100 * time.Millisecond
	drainBytes = 1 << 20
)

// terminal is a pseudo-terminal with the program's side still open.
type terminal struct {
	master *os.File
	slave  *os.File
	term   string // TERM
	opened terminals.Size
	ended  atomic.Bool
}

// openTerminal handles "pty-req" (RFC 4254, 6.2).
func (s *session) openTerminal(payload []byte) bool {
	var request struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}
	if s.terminal != nil || s.started || s.login.limits.NoTerminal || ssh.Unmarshal(payload, &request) != nil {
		return false
	}
	master, slave, err := pty.Open()
	if err != nil {
		s.log.Warn("cannot open a terminal", "error", err)
		return false
	}
	t := &terminal{master: pollable(master), slave: slave, term: request.Term}
	t.opened = terminals.Size{Columns: request.Columns, Rows: request.Rows, Width: request.Width, Height: request.Height}
	_ = t.resize(request.Columns, request.Rows, request.Width, request.Height)
	if err := setModes(slave, []byte(request.Modes)); err != nil {
		s.log.Info("cannot set terminal modes", "error", err)
	}
	s.giveTerminal(slave)
	s.mu.Lock()
	s.terminal = t
	s.mu.Unlock()
	return true
}

// giveTerminal makes the account the owner of the terminal, and lets write(1) and wall(1), of group tty, write to it.
func (s *session) giveTerminal(slave *os.File) {
	group, mode := s.account.GID, os.FileMode(0o600)
	if tty, found := s.server.Users.GroupID("tty"); found {
		group, mode = tty, 0o620
	}
	if err := errors.Join(slave.Chown(int(s.account.UID), int(group)), slave.Chmod(mode)); err != nil {
		s.log.Warn("cannot change the terminal's owner", "error", err)
	}
}

// pollable reopens the file in non-blocking mode, so that a read can have a deadline and a close ends it: creack/pty
// leaves it blocking.
func pollable(blocking *os.File) *os.File {
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return blocking
	}
	_ = unix.SetNonblock(fd, true)
	_ = blocking.Close()
	return os.NewFile(uintptr(fd), blocking.Name())
}

// resize handles "window-change".
func (s *session) resize(payload []byte) bool {
	var size struct{ Columns, Rows, Width, Height uint32 }
	if s.terminal == nil || ssh.Unmarshal(payload, &size) != nil {
		return false
	}
	if s.kept != nil {
		return s.kept.resize(terminals.Size(size)) == nil
	}
	return s.terminal.resize(size.Columns, size.Rows, size.Width, size.Height) == nil
}

func (t *terminal) resize(columns, rows, width, height uint32) error {
	size := &unix.Winsize{Col: uint16(columns), Row: uint16(rows), Xpixel: uint16(width), Ypixel: uint16(height)}
	return t.control(func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size) })
}

// sendBreak handles "break" (RFC 4335).
func (s *session) sendBreak() bool {
	return s.terminal != nil &&
		s.terminal.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TCSBRK, 0) }) == nil
}

// control does not use Fd(), which would make the file blocking again.
func (t *terminal) control(act func(fd int) error) error {
	raw, err := t.master.SyscallConn()
	if err != nil {
		return err
	}
	var actErr error
	err = raw.Control(func(fd uintptr) { actErr = act(int(fd)) })
	if err != nil {
		return err
	}
	return actErr
}

func (t *terminal) close() {
	_ = t.master.Close()
	_ = t.slave.Close()
}

// runOnTerminal ends when the program has ended, even if other processes still have the terminal open.
func (s *session) runOnTerminal(path string, argv []string) exit {
	t := s.terminal
	cmd, err := s.launch(path, argv, t.slave, t.slave, t.slave)
	_ = t.slave.Close()
	if err != nil {
		return s.notStarted(path, err)
	}
	process := &process{cmd: cmd}
	s.keep(process)
	// The client's EOF is not passed on: closing the master would hang up the program (OpenSSH does the same).
	defer s.server.showsNotices(t.slave.Name())()
	go func() { _ = forward.Copy(t.master, s.channel, s.server.Activity.TouchInput) }()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_ = forward.Copy(s.channel, &drain{terminal: t, left: drainBytes}, func() {})
	}()
	ended := process.wait()
	t.ended.Store(true)
	_ = t.master.SetReadDeadline(time.Now().Add(drainIdle))
	<-drained
	return ended
}

// drain reads the terminal; once the program has ended, only what is buffered.
type drain struct {
	*terminal
	left int
}

func (d *drain) Read(p []byte) (int, error) {
	if d.ended.Load() {
		if d.left <= 0 {
			return 0, syscall.EIO
		}
		_ = d.master.SetReadDeadline(time.Now().Add(drainIdle))
	}
	n, err := d.master.Read(p)
	if d.ended.Load() {
		d.left -= n
	}
	return n, err
}
