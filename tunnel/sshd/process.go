package sshd

import (
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// signalNames are those of RFC 4254, 6.10.
var signalNames = map[syscall.Signal]string{
	syscall.SIGABRT: "ABRT", syscall.SIGALRM: "ALRM", syscall.SIGFPE: "FPE", syscall.SIGHUP: "HUP",
	syscall.SIGILL: "ILL", syscall.SIGINT: "INT", syscall.SIGKILL: "KILL", syscall.SIGPIPE: "PIPE",
	syscall.SIGQUIT: "QUIT", syscall.SIGSEGV: "SEGV", syscall.SIGTERM: "TERM",
	syscall.SIGUSR1: "USR1", syscall.SIGUSR2: "USR2",
}

// process is a running program, the leader of its own process group.
type process struct {
	cmd *exec.Cmd

	mu   sync.Mutex
	over bool // reaped or about to be: its pid may be reused
}

// signal sends a signal to the whole group; false if it is unknown or no process is left.
func (p *process) signal(name string) bool {
	for number, known := range signalNames {
		if known != name {
			continue
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		return !p.over && syscall.Kill(-p.cmd.Process.Pid, number) == nil
	}
	return false
}

// wait waits for the end. The program stays a zombie until over is set, so that signal never reaches another process.
func (p *process) wait() exit {
	for unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		continue
	}
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	_ = p.cmd.Wait() // its error repeats the state
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return exit{signal: status.Signal(), core: status.CoreDump()}
	}
	return exit{code: uint32(p.cmd.ProcessState.ExitCode())}
}

// exit is how a program ended.
type exit struct {
	code   uint32
	signal syscall.Signal // 0: it exited
	core   bool
}

func (e exit) tell(channel ssh.Channel) {
	if e.signal == 0 {
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{e.code}))
		return
	}
	name, ok := signalNames[e.signal]
	if !ok {
		name = "SIG@openssh.com" // OpenSSH's name for signals that are not in the RFC
	}
	_, _ = channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
		Name     string
		Core     bool
		Message  string
		Language string
	}{name, e.core, "", ""})) // no message, as from OpenSSH
}
