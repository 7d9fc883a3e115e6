// Package boot starts what was enabled to start with the machine, as an init system would. It is a process of its own
// ("agent boot"): process 1 starts it once, at each start of the container, and it ends when all has been started.
//
// One after the other, it runs
//
//  1. the init scripts of runlevel 2, Debian's default, that packages and update-rc.d enable: /etc/rc2.d/S*. Not where
//     the image's command runs, which is most likely the service that one of them would start a second time;
//  2. the programs in /etc/netvps/start.d, in the order of their names;
//  3. /etc/rc.local.
//
// Units of systemd are not started: that takes systemd as process 1.
package boot

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"netvps/tunnel/environ"
)

const (
	// patience is how long the next one waits for one that does not end. What takes longer runs on.
	patience    = time.Minute
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// Starter runs what is enabled under Root.
type Starter struct {
	Root        string // "/" but in tests
	InitScripts bool   // also those of /etc/rc2.d
	Patience    time.Duration
	Log         *slog.Logger
}

// New is for the container itself.
func New(initScripts bool, log *slog.Logger) *Starter {
	return &Starter{Root: "/", InitScripts: initScripts, Patience: patience, Log: log}
}

// Run returns when each program has ended or has had its time. A program that fails is logged, and the next one runs.
func (s *Starter) Run() {
	env := environ.All()
	if environ.Value(env, "PATH") == "" {
		env = append(env, "PATH="+defaultPath)
	}
	if s.InitScripts {
		for _, path := range s.enabled("etc/rc2.d/S*") {
			s.start(env, path, "start")
		}
	}
	for _, path := range append(s.enabled("etc/netvps/start.d/*"), s.enabled("etc/rc.local")...) {
		s.start(env, path)
	}
}

// enabled lists executable files, sorted by name. A link counts by its target; editors' and dpkg's backups do not count.
func (s *Starter) enabled(pattern string) (paths []string) {
	found, _ := filepath.Glob(filepath.Join(s.Root, pattern)) // the patterns are well formed
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
	// Files, not pipes: a service that keeps them open shall not keep this waiting.
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
		s.Log.Warn("still runs: what is enabled after it is started now", "program", path, "after", fmt.Sprint(s.Patience))
	}
}
