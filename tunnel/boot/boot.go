// Package boot starts the programs that are enabled to start with the machine, as an init system would. It is a separate
// process ("agent boot"): PID 1 runs it once per start of the container. It ends when everything was started, or stays
// to keep a supervisor of services running.
//
// It runs, one after the other,
//
//  0. in a container that was made from a snapshot, the programs in /etc/netvps/hooks/post-restore.d;
//  1. the image's services: the runlevel "default" of OpenRC, or else the init scripts of runlevel 2, Debian's default,
//     that packages and update-rc.d enable (/etc/rc2.d/S*); and the supervisors runit and s6, where they have a service.
//     Not where the image's command runs, as that is most likely the service that one of them would start a second time;
//  2. the programs in /etc/netvps/start.d, in the order of their names;
//  3. /etc/rc.local.
//
// Units of systemd are not started: that needs systemd as PID 1.
package boot

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"netvps/tunnel/environ"
)

const (
	// patience is how long to wait for a program before the next one is started; the slow one keeps running.
	patience    = time.Minute
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// Starter starts what is enabled under Root.
type Starter struct {
	Root     string // "/" except in tests
	Services bool   // also those of the image's own init
	Patience time.Duration
	Log      *slog.Logger

	kept sync.WaitGroup // supervisors of services
}

// New returns a Starter for the container itself.
func New(services bool, log *slog.Logger) *Starter {
	return &Starter{Root: "/", Services: services, Patience: patience, Log: log}
}

// Run returns when each program has ended or timed out; where it keeps a supervisor of services running, when the context
// ends. A failing program is logged and does not stop the others.
func (s *Starter) Run(ctx context.Context) {
	(&Hooks{Root: s.Root, Output: os.Stdout, Log: s.Log}).PostRestore()
	env := withPath(environ.All())
	if s.Services {
		s.startServices(ctx, env)
	}
	for _, path := range append(enabled(s.Root, "etc/netvps/start.d/*"), enabled(s.Root, "etc/rc.local")...) {
		s.start(env, path)
	}
	s.kept.Wait()
}

func withPath(env []string) []string {
	if environ.Value(env, "PATH") == "" {
		env = append(env, "PATH="+defaultPath)
	}
	return env
}

// enabled lists executable files, sorted by name. Links count by their target; backups of editors and dpkg do not count.
func enabled(root, pattern string) (paths []string) {
	found, _ := filepath.Glob(filepath.Join(root, pattern)) // the patterns are well formed
	for _, path := range found {
		info, err := os.Stat(path)
		backup := strings.HasSuffix(path, "~") || strings.Contains(filepath.Base(path), ".dpkg-")
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 && !backup {
			paths = append(paths, path)
		}
	}
	return paths
}

func (s *Starter) start(env []string, path string, args ...string) {
	command := exec.Command(path, args...)
	command.Dir, command.Env = s.Root, env
	// Files, not pipes: a service that keeps them open must not block this.
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		s.Log.Error("not started at boot", "program", path, "error", err)
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			s.Log.Error("failed at boot", "program", path, "error", err)
			return
		}
		s.Log.Info("started at boot", "program", path)
	case <-time.After(s.Patience):
		s.Log.Warn("still running; starting the next ones", "program", path, "after", fmt.Sprint(s.Patience))
	}
}
