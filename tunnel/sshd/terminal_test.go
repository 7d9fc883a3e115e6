package sshd_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"google.golang.org/protobuf/proto"

	"netvps/tunnel/api"
)

func TestTerminalHasItsSizeAndEndsWithItsProgram(t *testing.T) {
	r := newRig(t)
	session := r.session()
	r.check(session.RequestPty("xterm-256color", 33, 101, ssh.TerminalModes{ssh.ECHO: 0, ssh.VERASE: 8}))
	// The background process keeps the terminal open: the session ends nevertheless.
	out, err := session.CombinedOutput(`stty size; stty -a; tty; echo $TERM; (trap "" HUP; sleep 30) & exit 3`)
	if exit, ok := err.(*ssh.ExitError); !ok || exit.ExitStatus() != 3 {
		t.Fatalf("got %v, %q", err, out)
	}
	for _, want := range []string{"33 101\r\n", "-echo ", "erase = ^H", "/dev/pts/", "xterm-256color"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
}

func TestOpenSSHGetsATerminal(t *testing.T) {
	r := newRig(t)
	got := r.run(r.ssh("-tt", to(t), "test -t 0 && test -t 1 && echo yes; exit 7"))
	if got.code != 7 || got.stdout != "yes\r\n" {
		t.Fatalf("got %+v", got)
	}
}

func TestGreetingIsShownToLoginsOnTerminalsOnly(t *testing.T) {
	r := newRig(t)
	r.server.Greeting = "two\nlines\n"
	login := r.another()
	greets := func(args ...string) bool {
		cmd := r.ssh(args...)
		cmd.Stdin = strings.NewReader("exit\n")
		return strings.Contains(r.run(cmd).stdout, "two\r\nlines\r\n")
	}
	if !greets("-tt", login) {
		t.Error("not shown to a login")
	}
	if greets("-T", login) || greets("-tt", login, "true") {
		t.Error("shown to a program")
	}
	r.check(os.WriteFile(filepath.Join(r.home, ".hushlogin"), nil, 0o644))
	if greets("-tt", login) {
		t.Error("shown in spite of .hushlogin")
	}
}

func TestAllOutputOfATerminalArrives(t *testing.T) {
	r := newRig(t)
	for range 5 {
		got := r.run(r.ssh("-tt", to(t), "seq 1 20000"))
		if lines := strings.Count(got.stdout, "\r\n"); lines != 20000 || !strings.HasSuffix(got.stdout, "\r\n20000\r\n") {
			t.Fatalf("%d lines, code %d", lines, got.code)
		}
	}
}

func TestWindowChangeReachesTheProgram(t *testing.T) {
	r := newRig(t)
	session := r.session()
	r.check(session.RequestPty("vt100", 24, 80, nil))
	stdout, err := session.StdoutPipe()
	r.check(err)
	r.check(session.Start(`trap "stty size; exit" WINCH; echo ready; while :; do sleep 0.05; done`))
	_, err = io.ReadFull(stdout, make([]byte, len("ready\r\n")))
	r.check(err)
	r.check(session.WindowChange(50, 120))
	if out, _ := io.ReadAll(stdout); !bytes.Contains(out, []byte("50 120")) {
		t.Fatalf("got %q", out)
	}
}

func TestProgramOnATerminalIsHungUpWhenTheClientVanishes(t *testing.T) {
	r := newRig(t)
	marker := t.TempDir() + "/hup"
	client := r.dial()
	session, err := client.NewSession()
	r.check(err)
	r.check(session.RequestPty("vt100", 24, 80, nil))
	stdout, err := session.StdoutPipe()
	r.check(err)
	r.check(session.Start(`trap "touch ` + marker + `; exit" HUP; echo ready; while :; do sleep 0.05; done`))
	_, err = io.ReadFull(stdout, make([]byte, len("ready\r\n")))
	r.check(err)
	if snapshot := r.activity.Snapshot(); snapshot.GetChannels() != 1 || snapshot.GetTerminals() != 1 {
		t.Fatalf("activity: %v", snapshot)
	}
	_ = client.Close()
	r.waitFor("the hangup", func() bool { return exists(marker) })
	r.waitFor("the end of activity", func() bool { return r.activity.Snapshot().GetTerminals() == 0 })
}

func TestShellIsALoginShell(t *testing.T) {
	r := newRig(t)
	cmd := r.ssh("-T", to(t))
	cmd.Stdin = strings.NewReader("echo $0\nexit 5\n")
	got := r.run(cmd)
	if got.code != 5 || !strings.Contains(got.stdout, "-") {
		t.Fatalf("got %+v", got)
	}
}

func TestWarningsAreWrittenOnOpenTerminalsAndCountAsNoActivity(t *testing.T) {
	r := newRig(t)
	session := r.session()
	r.check(session.RequestPty("vt100", 24, 80, nil))
	stdout, err := session.StdoutPipe()
	r.check(err)
	r.check(session.Start("echo ready; sleep 60"))
	_, err = io.ReadFull(stdout, make([]byte, len("ready\r\n")))
	r.check(err)
	before := r.activity.Snapshot().GetLastByteTime()
	r.server.Notify(&api.SleepNotice{Greeting: "It stops after 1h.\n", Warning: "it stops\nsoon"})
	want := "\r\r\nit stops\r\r\nsoon\r\r\n" // the terminal adds a second \r, as to what wall(1) writes
	got := make([]byte, len(want))
	_, err = io.ReadFull(stdout, got)
	r.check(err)
	if after := r.activity.Snapshot().GetLastByteTime(); string(got) != want || !proto.Equal(before, after) {
		t.Fatalf("got %q; activity at %v, then at %v", got, before, after)
	}
}

func TestGreetingHasTheLastNotice(t *testing.T) {
	r := newRig(t)
	r.server.Greeting = "hello\n"
	r.server.Notify(&api.SleepNotice{Greeting: "It stops after 1h.\n"})
	cmd := r.ssh("-tt", r.another())
	cmd.Stdin = strings.NewReader("exit\n")
	if got := r.run(cmd); !strings.Contains(got.stdout, "hello\r\nIt stops after 1h.\r\n") {
		t.Fatalf("got %+v", got)
	}
}
