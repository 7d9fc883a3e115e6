package pid1

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// held is a namespace whose PID 1 this test signals.
type held struct {
	t   *testing.T
	cmd *exec.Cmd
	out lockedBuffer
}

func start(t *testing.T, ready string, args ...string) *held {
	t.Helper()
	h := &held{t: t, cmd: namespace(t, args...)}
	h.cmd.Stdout, h.cmd.Stderr = &h.out, &h.out
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h.until("ready", func() bool { return strings.Contains(h.out.String(), ready) })
	return h
}

func (h *held) signal(sent syscall.Signal) { _ = h.cmd.Process.Signal(sent) }

func (h *held) name() string {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", h.cmd.Process.Pid))
	return strings.TrimSpace(string(name))
}

func (h *held) until(what string, holds func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("not %s; its name is %q:\n%s", what, h.name(), h.out.String())
		}
	}
}

func (h *held) ends() {
	h.t.Helper()
	h.signal(syscall.SIGTERM)
	if err := h.cmd.Wait(); err != nil || !strings.Contains(h.out.String(), "first is done") {
		h.t.Errorf("%v\n%s", err, h.out.String())
	}
}

func TestHeldContainerRunsOnWithPID1AloneUntilItGetsSIGTERM(t *testing.T) {
	h := start(t, "ready", "agent-idle", "/bin/sh", "-c", `trap "echo term; exit 4" TERM; echo ready; while :; do sleep 0.02; done`)
	h.signal(sigHold)
	h.until("held", func() bool { return h.name() == nameHeld })
	if !strings.Contains(h.out.String(), "term\n") {
		t.Errorf("the command did not get SIGTERM:\n%s", h.out.String())
	}
	h.ends()
}

func TestProcessThatComesToAHeldContainerIsKilled(t *testing.T) {
	h := start(t, "idle", "agent-idle")
	h.signal(sigHold)
	h.until("held", func() bool { return h.name() == nameHeld })
	began := time.Now()
	_ = exec.Command("nsenter", "-t", fmt.Sprint(h.cmd.Process.Pid), "-p", "sleep", "30").Run()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it lived for %v", took)
	}
	h.ends()
}

func TestProcessesThatIgnoreSIGTERMEndWhenTheHoldIsSentAgain(t *testing.T) {
	h := start(t, "ready", "agent-idle", "/bin/sh", "-c", `trap "" TERM; echo ready; while :; do sleep 0.02; done`)
	h.signal(sigHold)
	h.until("ending", func() bool { return h.name() == nameEnding })
	h.signal(sigHold)
	h.until("held", func() bool { return h.name() == nameHeld })
	h.ends()
}
