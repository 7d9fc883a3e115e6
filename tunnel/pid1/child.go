package pid1

import (
	"fmt"
	"syscall"
	"time"
)

// child is a process that is started here and reaped by the loop. It is not an os.Process, which would wait on its own.
type child struct {
	pid     int // 0: not running
	started time.Time
}

func (c *child) alive() bool { return c.pid != 0 }

// start adds the standard files and a new session to the attributes.
func (c *child) start(path string, argv []string, attributes *syscall.ProcAttr) error {
	c.started = time.Now()
	attributes.Files = []uintptr{0, 1, 2}
	if attributes.Sys == nil {
		attributes.Sys = &syscall.SysProcAttr{}
	}
	attributes.Sys.Setsid = true
	pid, err := syscall.ForkExec(path, argv, attributes)
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
