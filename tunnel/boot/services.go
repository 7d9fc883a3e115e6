package boot

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	superviseMin = 100 * time.Millisecond
	superviseMax = time.Minute
	// superviseSteady is how long a run must last for the backoff to start over.
	superviseSteady = 10 * time.Second
)

// supervisor is a program that keeps the services in a folder running, one in each folder that has a program "run".
type supervisor struct {
	program string
	args    []string
	folders []string
}

var (
	binaries    = []string{"usr/bin/", "usr/sbin/", "bin/", "sbin/", "command/"}
	supervisors = []supervisor{
		// runit, also that of busybox: Debian's folder, then those of other systems.
		{"runsvdir", []string{"-P"}, []string{"etc/service", "etc/runit/runsvdir/default", "var/service", "service"}},
		{"s6-svscan", nil, []string{"etc/services.d", "etc/s6/services", "service"}},
	}
)

// startServices starts what the image's own way of services has enabled: the runlevel of OpenRC, or else the init
// scripts of Debian's runlevel 2; and it keeps supervisors running that find services in their folders.
func (s *Starter) startServices(ctx context.Context, env []string) {
	if openrc := s.openRC(); openrc != "" {
		s.start(env, openrc, "default")
	} else {
		for _, path := range enabled(s.Root, "etc/rc2.d/S*") {
			s.start(env, path, "start")
		}
	}
	for _, one := range supervisors {
		if argv := one.find(s.Root); argv != nil {
			s.kept.Go(func() { s.supervise(ctx, env, argv) })
		}
	}
}

// openRC returns the program that enters a runlevel, after it made what that program expects of an earlier one; "" where
// the image has no OpenRC, or nothing enabled.
func (s *Starter) openRC() string {
	programs := enabled(s.Root, "sbin/openrc")
	if services, _ := filepath.Glob(filepath.Join(s.Root, "etc/runlevels/default/*")); len(programs)*len(services) == 0 {
		return ""
	}
	state := filepath.Join(s.Root, "run/openrc")
	if err := os.MkdirAll(state, 0o755); err != nil {
		s.Log.Error("cannot start OpenRC", "error", err)
		return ""
	}
	if err := os.WriteFile(filepath.Join(state, "softlevel"), []byte("sysinit\n"), 0o644); err != nil {
		s.Log.Error("cannot start OpenRC", "error", err)
		return ""
	}
	return programs[0]
}

// find returns the command line of the supervisor; nil where it is not installed or has no service.
func (o supervisor) find(root string) []string {
	for _, folder := range o.folders {
		if len(enabled(root, folder+"/*/run")) == 0 {
			continue
		}
		for _, at := range binaries {
			if found := enabled(root, at+o.program); found != nil {
				return append(append(found, o.args...), filepath.Join(root, folder))
			}
		}
	}
	return nil
}

// supervise runs the supervisor, and again after a pause whenever it ends, until the context ends.
func (s *Starter) supervise(ctx context.Context, env, argv []string) {
	for pause := superviseMin; ; pause = min(2*pause, superviseMax) {
		began := time.Now()
		command := exec.CommandContext(ctx, argv[0], argv[1:]...)
		command.Dir, command.Env = s.Root, env
		command.Stdout, command.Stderr = os.Stdout, os.Stderr
		command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		s.Log.Info("supervisor of services started at boot", "program", argv[0])
		err := command.Run()
		if time.Since(began) > superviseSteady {
			pause = superviseMin
		}
		if ctx.Err() == nil {
			s.Log.Error("the supervisor of services ended", "program", argv[0], "error", err, "again_in", pause)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
