//go:build faults

package faults

import (
	"os"
	"strings"
	"syscall"
	"time"

	"netvps/tunnel/environ"
)

const (
	// armed holds "POINT=MODE"; a test sets it in a session's spec.
	armed = "NETVPS_FAULT"
	// folder is in the container's own file system; POINT.hit in there tells that it struck.
	folder = "/.netvps/state/"
	hang   = time.Second
)

// Enabled reports whether fault points are active.
const Enabled = true

// Point is a named fault point: here the process dies, panics or hangs for a second if that is armed; once in a session's
// life.
func Point(name string) {
	point, mode, _ := strings.Cut(environ.Get(armed), "=")
	if point != name {
		return
	}
	_ = os.Mkdir(folder, 0o700)
	hit, err := os.OpenFile(folder+name+".hit", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return // it was hit before
	}
	_ = hit.Close()
	switch mode {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		os.Exit(137) // PID 1 cannot kill itself
	case "raise":
		panic("fault injected at " + name)
	case "hang":
		time.Sleep(hang)
	}
}
