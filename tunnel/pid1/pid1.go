// Package pid1 is the session's PID 1. It reaps, forwards signals, keeps the agent running, and ends the container in
// order.
//
// It also runs the image's command, if the owner wants that, and restarts it when it fails; and it runs a child that
// starts the session's services (package boot).
//
// It does nothing else, by design: the SSH server and the tunnel are a child of it. So one process waits for any child,
// and another for its own by os/exec, and neither can take a status from the other; and whatever happens to the child
// (a bug, the OOM killer, a user's "kill -9 -1"), the session continues and the agent is restarted.
package pid1

import (
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"netvps/tunnel/environ"
	"netvps/tunnel/faults"
)

const (
	restartMin = 100 * time.Millisecond
	restartMax = 5 * time.Second
	// commandGrace is how long the image's command may shut down alone before all other processes get SIGTERM, too.
	commandGrace = 5 * time.Second
	// poll detects the end of processes that are not our children (docker exec).
	poll = 20 * time.Millisecond
)

// ErrNotFirst guards kill(-1): anywhere but in a PID namespace of its own, it would end the machine.
var ErrNotFirst = errors.New("init must be PID 1 of a container")

// Init manages the container's processes.
type Init struct {
	Agent   []string // argv of the agent proper, restarted whenever it ends
	Boot    []string // argv of what starts the session's services, run once; may be empty
	Command Command
	Before  func() // called before anything is started; nil for nothing
	RunDir  string // the container's /run, which is emptied of files first; "" where the file system is not a container's
	Log     *slog.Logger

	agent    child
	boot     child
	delay    time.Duration
	restart  <-chan time.Time
	stopping bool
	ending   bool // all processes got SIGTERM
	hurry    <-chan time.Time
	hold     hold
}

// Run returns when the container may end: after a stop, with no process left, and not held.
func (i *Init) Run() error {
	if os.Getpid() != 1 {
		return ErrNotFirst
	}
	furnish()
	if i.RunDir != "" {
		emptyOfFiles(i.RunDir)
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, forwarded...)
	ended := make(chan os.Signal, 1) // one is enough: each time, all zombies are reaped
	signal.Notify(ended, syscall.SIGCHLD)
	if i.Before != nil {
		i.Before()
	}
	i.Command.start(i.Log)
	i.startAgent()
	i.startServices()
	ticker := time.NewTicker(poll)
	ticker.Stop()
	for {
		select {
		case received := <-signals:
			i.receive(received.(syscall.Signal))
		case <-ended:
		case <-i.restart:
			i.startAgent()
		case <-i.Command.restart:
			i.startCommand()
		case <-i.hurry:
			i.tellAll()
		case <-ticker.C:
		}
		i.reap()
		if i.stopping && !i.Command.alive() && !i.ending {
			i.tellAll()
		}
		if i.ending {
			if i.hold.mayEnd(alone()) {
				return nil
			}
			ticker.Reset(poll)
		}
	}
}

// receive handles a signal sent to the container: it is for the image's command if there is one.
func (i *Init) receive(received syscall.Signal) {
	i.Log.Info("signal received", "signal", received.String())
	if received = i.hold.receive(received); received == 0 {
		return
	}
	if i.Command.alive() {
		_ = syscall.Kill(i.Command.pid, received)
	}
	stop := received == syscall.SIGTERM || !i.Command.alive() && endsAnIdleContainer(received)
	if stop && !i.stopping {
		i.stopping = true
		i.hurry = time.After(commandGrace)
	}
}

func (i *Init) startCommand() {
	i.Command.restart = nil
	if !i.stopping {
		i.Command.start(i.Log)
	}
}

func (i *Init) startAgent() {
	i.restart = nil
	if i.stopping || i.agent.alive() {
		return
	}
	faults.Point("agent.before_start")
	if err := i.agent.start("/proc/self/exe", i.Agent, &syscall.ProcAttr{Env: environ.All()}); err != nil {
		i.Log.Error("cannot run the agent", "error", err)
		i.agentEnded()
	}
}

func (i *Init) startServices() {
	if len(i.Boot) == 0 {
		return
	}
	if err := i.boot.start("/proc/self/exe", i.Boot, &syscall.ProcAttr{Env: environ.All()}); err != nil {
		i.Log.Error("cannot start services", "error", err)
	}
}

// agentEnded restarts the agent, with backoff if it keeps ending at once.
func (i *Init) agentEnded() {
	if time.Since(i.agent.started) > restartMax {
		i.delay = 0
	}
	i.delay = min(max(2*i.delay, restartMin), restartMax)
	i.restart = time.After(i.delay)
}

// reap collects the status of every ended child, also orphaned ones.
func (i *Init) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil || pid <= 0:
			return
		case pid == i.agent.pid:
			i.agent.pid = 0
			if !i.stopping {
				i.Log.Error("the agent ended", "status", describe(status))
				i.agentEnded()
			}
		case pid == i.boot.pid:
			i.boot.pid = 0
			if !i.stopping && status != 0 {
				i.Log.Error("not all services were started", "status", describe(status))
			}
		case pid == i.Command.pid:
			i.Command.ended(status, i.stopping, i.Log)
		}
	}
}
