package pid1

import (
	"os"
	"syscall"
)

// sigHold (SIGRTMAX) is SIGTERM, except that PID 1 stays, alone, until it gets SIGTERM: the container goes on to run, so
// that no "docker prune" takes it before its files are copied. Sent again, it ends what ignores SIGTERM.
const sigHold = syscall.Signal(64)

// The runner reads these names of PID 1 in /proc/PID/comm (15 bytes at most).
const (
	nameEnding = "netvps-ending"
	nameHeld   = "netvps-held"
)

// hold keeps a container whose processes have ended.
type hold struct {
	wanted bool
	alone  bool
}

// receive returns what a signal means for the container; 0 if nothing more is to be done.
func (h *hold) receive(received syscall.Signal) syscall.Signal {
	switch {
	case received == syscall.SIGTERM:
		h.wanted = false
	case received == sigHold && h.wanted:
		_ = syscall.Kill(-1, syscall.SIGKILL)
		return 0
	case received == sigHold:
		h.wanted = true
		rename(nameEnding)
		return syscall.SIGTERM
	}
	return received
}

// mayEnd reports whether the container may end. What comes to a held one (docker exec) is killed: its files are final.
func (h *hold) mayEnd(alone bool) bool {
	switch {
	case !h.wanted:
		return alone
	case alone && !h.alone:
		h.alone = true
		rename(nameHeld)
	case !alone && h.alone:
		_ = syscall.Kill(-1, syscall.SIGKILL)
	}
	return false
}

// rename changes the name of this process. Without a writable /proc it keeps its name, and the runner kills it in time.
func rename(name string) { _ = os.WriteFile("/proc/self/comm", []byte(name), 0) }
