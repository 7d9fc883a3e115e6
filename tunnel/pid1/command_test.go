package pid1

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netvps/tunnel/passwd"
)

func TestAFailedCommandIsRunAgain(t *testing.T) {
	starts := filepath.Join(t.TempDir(), "starts")
	script := `echo x >>` + starts + `; (sleep 1000 &); [ $(wc -l <` + starts + `) -lt 3 ] && exit 7; until pgrep -x sleep >/dev/null; do :; done; pgrep -c sleep; exit 0`
	out, _ := run(t, `command ended" status="exit 0"`, []syscall.Signal{syscall.SIGTERM}, "agent-idle", "/bin/sh", "-c", script)
	if strings.Count(out, `failed" status="exit 7"`) != 2 || !strings.Contains(out, "again_in=200ms") {
		t.Fatal(out)
	}
	if !strings.Contains(out, "\n1\n") { // the sleep of this run, and none of those before
		t.Fatal("what a failed run left is not ended:\n", out)
	}
}

func TestAStopEndsThePauseBeforeTheNextStart(t *testing.T) {
	for _, command := range []string{"/no/such/command", "/bin/false"} {
		if out, took := run(t, "again_in=800ms", []syscall.Signal{syscall.SIGTERM}, "agent-idle", command); took > 500*time.Millisecond {
			t.Errorf("%s: %v\n%s", command, took, out)
		}
	}
}

func TestCommandRunsAsTheImagesUserInItsFolder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "made", "here")
	for parent := filepath.Dir(filepath.Dir(folder)); parent != os.TempDir(); parent = filepath.Dir(parent) {
		_ = os.Chmod(parent, 0o755)
	}
	t.Setenv("COMMAND_USER", "games")
	t.Setenv("COMMAND_DIR", folder)
	t.Setenv("HOME", "/root")
	out, _ := run(t, "exit 0", []syscall.Signal{syscall.SIGTERM}, "agent-idle", "sh", "-c", `echo "$(id -un) $(pwd) $HOME"`)
	if want := "games " + folder + " /usr/games\n"; !strings.Contains(out, want) {
		t.Fatalf("no %q in\n%s", want, out)
	}
}

func TestMissingUserIsLogged(t *testing.T) {
	t.Setenv("COMMAND_USER", "no-such-user")
	out, _ := run(t, "again_in=200ms", []syscall.Signal{syscall.SIGTERM}, "agent-idle", "true")
	if !strings.Contains(out, `no user \"no-such-user\"`) {
		t.Fatal(out)
	}
}

func TestPausesDoubleUpToAMinuteAndAGoodRunResetsThem(t *testing.T) {
	command := Command{Argv: []string{"x"}}
	log := slog.New(slog.DiscardHandler)
	var failed syscall.WaitStatus = 1 << 8
	var last time.Duration
	for range 12 {
		command.started = time.Now()
		command.ended(failed, false, log)
		if command.delay <= last && command.delay != commandRestartMax || command.restart == nil {
			t.Fatal(command.delay)
		}
		last = command.delay
	}
	if last != commandRestartMax {
		t.Fatal(last)
	}
	command.started = time.Now().Add(-commandSteady - time.Second)
	command.ended(failed, false, log)
	if command.delay != commandRestartMin {
		t.Fatal(command.delay)
	}
	for status, stopping := range map[syscall.WaitStatus]bool{0: false, failed: true} {
		command.restart = nil
		if command.ended(status, stopping, log); command.restart != nil {
			t.Errorf("run again after %v, stopping %v", status, stopping)
		}
	}
}

func TestHomeIsTheAccountsUnlessTheImageSetsIt(t *testing.T) {
	account := passwd.Account{Home: "/home/app"}
	database := passwd.Database{Root: t.TempDir()}
	for home, want := range map[string]string{"/root": "/home/app", "/": "/home/app", "": "/home/app", "/data": "/data"} {
		env := withHome([]string{"HOME=" + home}, database, account)
		if got := strings.TrimPrefix(env[len(env)-1], "HOME="); got != want {
			t.Errorf("%s: %s", home, got)
		}
	}
}
