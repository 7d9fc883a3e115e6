package pid1

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test program be PID 1 and the agent of a PID namespace.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	switch os.Args[1] {
	case "first":
		first(os.Args[2:])
	case "agent-load":
		agentLoad()
	case "agent-crash":
		agentCrash()
	case "agent-idle":
		fmt.Println("idle")
		time.Sleep(time.Hour)
	default:
		os.Exit(m.Run())
	}
}

// first runs an Init whose agent is the mode named first, and whose command is the rest.
func first(args []string) {
	for _, err := range []error{
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("proc", "/proc", "proc", 0, ""),
	} {
		if err != nil {
			panic(err)
		}
	}
	i := &Init{Agent: []string{"agent", args[0]}, Log: slog.New(slog.NewTextHandler(os.Stdout, nil))}
	i.RunDir = os.Getenv("RUN")
	i.Command = Command{Argv: args[1:], User: os.Getenv("COMMAND_USER"), Dir: max(os.Getenv("COMMAND_DIR"), "/")}
	if err := i.Run(); err != nil {
		panic(err)
	}
	fmt.Println("first is done")
}

// agentLoad runs many short commands that leave orphans, checks each status, then asks for the end.
func agentLoad() {
	const workers, each = 16, 125
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for n := range each {
				want := (worker*each + n) % 256
				err := exec.Command("/bin/sh", "-c", fmt.Sprintf("(sleep 0.001 &) ; exit %d", want)).Run()
				var exit *exec.ExitError
				if want != 0 && (!errors.As(err, &exit) || exit.ExitCode() != want) || want == 0 && err != nil {
					fmt.Printf("WRONG: want %d, got %v\n", want, err)
				}
			}
		})
	}
	all.Wait()
	time.Sleep(200 * time.Millisecond) // orphans end
	states, _ := exec.Command("ps", "-eo", "stat=").Output()
	fmt.Printf("checked; zombies: %d\n", strings.Count(string(states), "Z"))
	_ = syscall.Kill(1, syscall.SIGTERM)
	select {}
}

// agentCrash dies twice, and asks for the end the third time.
func agentCrash() {
	file, err := os.OpenFile(os.Getenv("CRASHES"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	_, _ = file.WriteString("x")
	info, _ := file.Stat()
	if info.Size() < 3 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	_ = syscall.Kill(1, syscall.SIGTERM)
	select {}
}

// namespace runs this program as PID 1 of a new PID namespace.
func namespace(t *testing.T, args ...string) *exec.Cmd {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a PID namespace")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", append([]string{"first"}, args...)...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0") // the race detector's own wait is a second long
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	return cmd
}

func TestEveryoneGetsTheirOwnStatuses(t *testing.T) {
	out, err := namespace(t, "agent-load").CombinedOutput()
	if err != nil || strings.Contains(string(out), "WRONG") || !strings.Contains(string(out), "checked; zombies: 0") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestAgentIsStartedAgain(t *testing.T) {
	cmd := namespace(t, "agent-crash")
	cmd.Env = append(cmd.Env, "CRASHES="+t.TempDir()+"/crashes")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "killed: killed") != 2 || !strings.Contains(string(out), "first is done") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// run starts a namespace, waits for a text in its output, sends signals to PID 1, and waits for its end.
func run(t *testing.T, ready string, signals []syscall.Signal, args ...string) (output string, took time.Duration) {
	t.Helper()
	cmd := namespace(t, args...)
	var out lockedBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(out.String(), ready); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not ready:\n%s", out.String())
		}
	}
	start := time.Now()
	for _, sent := range signals {
		_ = cmd.Process.Signal(sent)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
	return out.String(), time.Since(start)
}

type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// The program that these tests start sees the machine's own /run.
func TestOnlyTheFolderThatIsGivenIsEmptied(t *testing.T) {
	for _, given := range []string{"", t.TempDir()} {
		cmd := namespace(t, "agent-crash")
		of, err := os.CreateTemp("/run", "netvps-test-")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.Remove(of.Name()) }()
		stale := filepath.Join(t.TempDir(), "stale")
		if given != "" {
			stale = filepath.Join(given, "stale")
		}
		if err := os.WriteFile(stale, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(cmd.Env, "CRASHES="+filepath.Join(t.TempDir(), "crashes"), "RUN="+given)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if _, err := os.Stat(of.Name()); err != nil {
			t.Error("a file of the machine is gone: ", err)
		}
		if _, err := os.Stat(stale); (err == nil) != (given == "") {
			t.Errorf("given %q: %v", given, err)
		}
	}
}

func TestStopOfAnIdleSessionIsQuick(t *testing.T) {
	for _, stop := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, sigRTMin3} {
		if out, took := run(t, "idle", []syscall.Signal{stop}, "agent-idle"); took > time.Second {
			t.Errorf("%v: %v\n%s", stop, took, out)
		}
	}
}

func TestSignalsGoToTheImagesCommand(t *testing.T) {
	script := `trap "echo usr1" USR1; trap "echo int" INT; trap "echo term; exit 4" TERM; echo ready; while :; do sleep 0.02; done`
	out, _ := run(t, "ready", []syscall.Signal{syscall.SIGUSR1, syscall.SIGINT, syscall.SIGTERM}, "agent-idle", "/bin/sh", "-c", script)
	for _, want := range []string{"usr1\n", "int\n", "term\n", `status="exit 4"`, "first is done"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestSessionOutlivesTheImagesCommand(t *testing.T) {
	out, _ := run(t, `command ended" status="exit 0"`, []syscall.Signal{syscall.SIGTERM}, "agent-idle", "/bin/sh", "-c", "sleep 0.3")
	if !strings.Contains(out, "idle") || !strings.Contains(out, "first is done") {
		t.Fatal(out)
	}
}

func TestStoppedProcessesAreWokenToEnd(t *testing.T) {
	script := `(kill -STOP $(sh -c 'echo $PPID')) & sleep 0.2; echo ready; exit 0`
	if out, took := run(t, "ready", []syscall.Signal{syscall.SIGTERM}, "agent-idle", "/bin/sh", "-c", script); took > 2*time.Second {
		t.Fatalf("%v\n%s", took, out)
	}
}

func TestInitRefusesToRunOutsideAContainer(t *testing.T) {
	if err := (&Init{}).Run(); !errors.Is(err, ErrNotFirst) {
		t.Fatal(err)
	}
}

func TestLeadsTerminal(t *testing.T) {
	for stat, want := range map[string]int{
		"12 (bash) S 1 12 12 34816 12 4194304":       12,
		"12 (a) b (c) S 1 12 12 34816 12 4194304":    12,
		"12 (no terminal) S 1 12 12 0 -1 4194304":    0,
		"13 (no leader) S 12 12 12 34816 12 4194304": 0,
		"14 (short) S 1":           0,
		"":                         0,
		"x (y) S 1 12 12 34816 12": 0,
	} {
		if pid, leads := leadsTerminal([]byte(stat)); leads != (want != 0) || leads && pid != want {
			t.Errorf("%q: %d %v", stat, pid, leads)
		}
	}
}
