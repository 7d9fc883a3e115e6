package hosts

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const generated = "127.0.0.1\tlocalhost\n::1\tlocalhost\n172.30.0.2\tdev1\n"

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func keeper(t *testing.T) *Keeper {
	t.Helper()
	folder := t.TempDir()
	k := &Keeper{File: filepath.Join(folder, "hosts"), StateDir: filepath.Join(folder, "state"), Log: slog.New(slog.DiscardHandler)}
	write(t, k.File, generated)
	return k
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLinesSurviveRecreatedFile(t *testing.T) {
	k := keeper(t)
	must(t, k.Restore())
	write(t, k.File, "127.0.0.1 localhost app\n"+strings.Replace(generated, "::1\tlocalhost\n", "\n# mine\n", 1)+"192.0.2.7 printer\n")
	must(t, k.Save())
	moved := strings.Replace(generated, "172.30.0.2", "172.30.0.9", 1)
	write(t, k.File, moved) // Docker, at the next start
	next := &Keeper{File: k.File, StateDir: k.StateDir, Log: k.Log}
	must(t, next.Restore())
	want := "127.0.0.1\tlocalhost\n172.30.0.9\tdev1\n127.0.0.1 localhost app\n# mine\n192.0.2.7 printer\n"
	if got := read(t, k.File); got != want {
		t.Errorf("got %q", got)
	}
	// The agent may start again in the same run: nothing changes, and what is taken back stays so.
	again := &Keeper{File: k.File, StateDir: k.StateDir, Log: k.Log}
	must(t, again.Restore())
	if got := read(t, k.File); got != want {
		t.Errorf("after a start of the agent: %q", got)
	}
	write(t, k.File, moved)
	must(t, again.Save())
	must(t, again.Restore())
	if got := read(t, k.File); got != moved {
		t.Errorf("after the changes were taken back: %q", got)
	}
}

func TestAWriteIsKeptAtOnceAndTheLastOneAtTheEnd(t *testing.T) {
	k := keeper(t)
	must(t, k.Restore())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.follow(ctx)
	}()
	kept := filepath.Join(k.StateDir, keptFile)
	write(t, k.File, generated+"192.0.2.7 printer\n")
	await(t, func() bool { return strings.Contains(readMaybe(kept), "printer") })
	cancel()
	<-ended
}

func TestBrokenStateStandsForNothing(t *testing.T) {
	k := keeper(t)
	must(t, os.MkdirAll(k.StateDir, 0o700))
	write(t, k.path(), "{")
	must(t, k.Restore())
	if got := read(t, k.File); got != generated {
		t.Errorf("got %q", got)
	}
}

func TestAFileOfAnySizeIsNotRead(t *testing.T) {
	k := keeper(t)
	must(t, os.Truncate(k.File, 1<<40))
	if err := k.Restore(); err == nil {
		t.Error("it was read")
	}
}

func await(t *testing.T, true_ func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !true_(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to that")
		}
	}
}

func readMaybe(file string) string {
	content, _ := os.ReadFile(file)
	return string(content)
}
