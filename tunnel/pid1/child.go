package pid1

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// child is a process that is started here and reaped by the loop. It is not an os.Process: that would wait on its own.
type child struct {
	pid     int // 0: not running
	started time.Time
}

func (c *child) alive() bool { return c.pid != 0 }

func (c *child) start(path string, argv []string) error {
	c.started = time.Now()
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	c.pid = pid
	return nil
}

func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "killed: " + status.Signal().String()
	}
	return fmt.Sprintf("exit %d", status.ExitStatus())
}
