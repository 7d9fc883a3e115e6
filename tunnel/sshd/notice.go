package sshd

import (
	"strings"

	"golang.org/x/sys/unix"

	"netvps/tunnel/api"
)

// Notify keeps a notice for later logins, and writes its warning on all open terminals.
func (s *Server) Notify(notice *api.SleepNotice) {
	s.notice.Store(notice)
	s.Activity.SetFloor(notice.GetCpuFloor())
	if notice.GetWarning() == "" {
		return
	}
	text := []byte("\r\n" + strings.ReplaceAll(notice.GetWarning(), "\n", "\r\n") + "\r\n")
	s.mu.Lock()
	defer s.mu.Unlock()
	for path := range s.terminals {
		write(path, text)
	}
}

// write writes on a terminal as wall(1) does; one that is stopped, or whose client does not read, gets nothing.
func write(path string, text []byte) {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_, _ = unix.Write(fd, text)
	_ = unix.Close(fd)
}

// showsNotices registers a terminal for warnings until the returned function is called.
func (s *Server) showsNotices(path string) (closed func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.terminals == nil {
		s.terminals = map[string]struct{}{}
	}
	s.terminals[path] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.terminals, path)
	}
}
