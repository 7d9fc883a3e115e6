package pid1

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// forwarded are the signals that users and engines send to a container; the others are the kernel's and the runtime's.
var forwarded = []os.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH,
	syscall.SIGPWR, sigRTMin3, sigHold,
}

// sigRTMin3 is the stop signal of images with systemd.
const sigRTMin3 = syscall.Signal(37)

// endsAnIdleContainer reports stop signals that images define for their own command; without that, they mean a stop.
func endsAnIdleContainer(received syscall.Signal) bool {
	return slices.Contains([]syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPWR, sigRTMin3}, received)
}

// tellAll asks every process of the container to end: SIGTERM, for interactive shells (which ignore it) SIGHUP, and
// SIGCONT so that stopped ones receive it.
func (i *Init) tellAll() {
	i.ending, i.hurry = true, nil
	_ = syscall.Kill(-1, syscall.SIGTERM)
	for _, pid := range terminalLeaders("/proc") {
		_ = syscall.Kill(pid, syscall.SIGHUP)
	}
	_ = syscall.Kill(-1, syscall.SIGCONT)
}

// alone reports whether no other process is left, whatever its parent is.
func alone() bool { return syscall.Kill(-1, 0) == syscall.ESRCH }

// terminalLeaders returns the processes that lead a session with a terminal: mostly login shells.
func terminalLeaders(proc string) (pids []int) {
	files, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "stat"))
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if pid, ok := leadsTerminal(stat); ok {
			pids = append(pids, pid)
		}
	}
	return pids
}

// leadsTerminal parses "PID (NAME) STATE PPID PGRP SESSION TTY …" (proc(5)); the name may hold spaces and brackets.
func leadsTerminal(stat []byte) (pid int, leads bool) {
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 1 || end < open {
		return 0, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(stat[:open])))
	fields := strings.Fields(string(stat[end+1:]))
	if err != nil || len(fields) < 5 {
		return 0, false
	}
	const session, terminal = 3, 4
	return pid, fields[session] == strconv.Itoa(pid) && fields[terminal] != "0"
}
