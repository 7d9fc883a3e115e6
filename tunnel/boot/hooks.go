package boot

import (
	"errors"
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
	// hooksFolder has a folder for each kind of hook.
	hooksFolder = "etc/netvps/hooks"
	// restoredFile is written by the runner into a container that it makes from a snapshot: "restore" or "clone". It is
	// removed once the hooks ran, so an interrupted start runs them again.
	restoredFile = hooksFolder + "/.restored"
	// preSnapshotLimit is for all of them together: whoever asked for the snapshot waits.
	preSnapshotLimit = time.Minute
	// postRestoreLimit is for each.
	postRestoreLimit = 5 * time.Minute
	// lingering is how long the output of a hook that ended is awaited from the processes that it left.
	lingering = time.Second
)

// Hooks runs the programs that an owner put into /etc/netvps/hooks, one after the other, in the order of their names. One
// that fails or is too slow does not keep the next ones from running.
type Hooks struct {
	Root   string   // "/" except in tests
	Output *os.File // of the hooks; the session's log
	Log    *slog.Logger
}

// PreSnapshot runs those of pre-snapshot.d, before a snapshot of a running session. It returns a line for each failure.
func (h *Hooks) PreSnapshot() []string { return h.preSnapshot(preSnapshotLimit) }

func (h *Hooks) preSnapshot(limit time.Duration) (failures []string) {
	end := time.Now().Add(limit)
	return h.run("pre-snapshot", nil, func() time.Duration { return time.Until(end) }, limit)
}

// PostRestore runs those of post-restore.d, at the first start of a container that was made from a snapshot.
func (h *Hooks) PostRestore() { h.postRestore(postRestoreLimit) }

func (h *Hooks) postRestore(limit time.Duration) {
	marker := filepath.Join(h.Root, restoredFile)
	made, err := os.ReadFile(marker)
	if err != nil {
		return
	}
	env := []string{"NETVPS_RESTORED=" + strings.TrimSpace(string(made))}
	h.run("post-restore", env, func() time.Duration { return limit }, limit)
	if err := os.Remove(marker); err != nil {
		h.Log.Error("the post-restore hooks will run again at the next start", "error", err)
	}
}

func (h *Hooks) run(kind string, env []string, left func() time.Duration, limit time.Duration) (failures []string) {
	for _, path := range enabled(h.Root, hooksFolder+"/"+kind+".d/*") {
		err := h.one(path, append(env, "NETVPS_HOOK="+kind), left())
		if errors.Is(err, errTooSlow) {
			err = fmt.Errorf("it was ended, as the limit of %s was over", limit)
		}
		if err != nil {
			h.Log.Error("hook failed", "hook", path, "error", err)
			failures = append(failures, fmt.Sprintf("%s hook %s: %v", kind, filepath.Base(path), err))
			continue
		}
		h.Log.Info("hook ran", "hook", path)
	}
	return failures
}

var errTooSlow = errors.New("too slow")

func (h *Hooks) one(path string, env []string, limit time.Duration) error {
	if limit <= 0 {
		return errTooSlow
	}
	command := exec.Command(path)
	command.Dir, command.Env = h.Root, append(withPath(environ.All()), env...)
	command.Stdout, command.Stderr = h.Output, h.Output
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	command.WaitDelay = lingering
	if err := command.Start(); err != nil {
		return err
	}
	late := time.AfterFunc(limit, func() { _ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) })
	err := command.Wait()
	if !late.Stop() {
		return errTooSlow
	}
	return err
}

// SessionLog opens the log of the session, which is the standard output of PID 1; the process's own where that cannot be.
func SessionLog() *os.File {
	file, err := os.OpenFile("/proc/1/fd/1", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return os.Stderr
	}
	return file
}
