package passwd

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrMayNotChangeUser means that the container lacks the capabilities for a login as another user.
var ErrMayNotChangeUser = errors.New("this container may not change users (CAP_SETUID and CAP_SETGID are dropped)")

// IsSelf reports whether this process runs as the account.
func (a Account) IsSelf() bool {
	return int(a.UID) == os.Geteuid() && int(a.GID) == os.Getegid()
}

// Credential returns the credential of a child of the account.
func (a Account) Credential() *syscall.Credential {
	return &syscall.Credential{Uid: a.UID, Gid: a.GID, Groups: a.allGroups()}
}

// allGroups returns what initgroups(3) sets, including the primary group.
func (a Account) allGroups() []uint32 { return append([]uint32{a.GID}, a.Groups...) }

// Do runs act with the account's rights, so that the kernel decides what it may open, connect to and bind, and peers see
// the right credentials. Files and sockets that act opens can be used afterwards anywhere in this process.
func (a Account) Do(act func() error) error {
	if a.IsSelf() {
		return act()
	}
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread has other rights than the rest and must end with this goroutine.
		runtime.LockOSThread()
		if err := a.becomeOnThisThread(); err != nil {
			done <- err
			return
		}
		done <- act()
	}()
	return <-done
}

// becomeOnThisThread uses raw system calls: those of package syscall change all threads of the process.
func (a Account) becomeOnThisThread() error {
	groups := a.allGroups()
	uid, gid := uintptr(a.UID), uintptr(a.GID)
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&groups[0])), 0)
	if errno == 0 {
		_, _, errno = unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid)
	}
	if errno == 0 {
		_, _, errno = unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid)
	}
	switch errno {
	case 0:
		return nil
	case unix.EPERM:
		return fmt.Errorf("act as %s: %w", a.Name, ErrMayNotChangeUser)
	default:
		return fmt.Errorf("act as %s: %w", a.Name, errno)
	}
}
