package boot

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// hooks are those below a root, with their log and their output.
func hooks(t *testing.T, path string) (found *Hooks, log *bytes.Buffer, output func() string) {
	t.Helper()
	log = &bytes.Buffer{}
	file, err := os.Create(filepath.Join(path, "output"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	output = func() string {
		text, _ := os.ReadFile(file.Name())
		return string(text)
	}
	return &Hooks{Root: path, Output: file, Log: slog.New(slog.NewTextHandler(log, nil))}, log, output
}

func TestPreSnapshotHooksRunInOrderAndEachFailureIsNamed(t *testing.T) {
	path, ran := root(t, map[string]os.FileMode{
		"etc/netvps/hooks/pre-snapshot.d/40-last": 0o755, "etc/netvps/hooks/pre-snapshot.d/00-off": 0o644,
		"etc/netvps/hooks/post-restore.d/x": 0o755,
	})
	folder := filepath.Join(path, "etc/netvps/hooks/pre-snapshot.d")
	write(t, filepath.Join(folder, "10-db"), "echo flushing $NETVPS_HOOK; exit 3", 0o755)
	write(t, filepath.Join(folder, "20-slow"), "sleep 60 & sleep 60", 0o755)
	found, log, output := hooks(t, path)
	begun := time.Now()
	failures := found.preSnapshot(300 * time.Millisecond)
	want := []string{
		"pre-snapshot hook 10-db: exit status 3",
		"pre-snapshot hook 20-slow: it was ended, as the limit of 300ms was over",
		"pre-snapshot hook 40-last: it was ended, as the limit of 300ms was over",
	}
	if !slices.Equal(failures, want) || ran() != "" {
		t.Fatalf("%q, ran %q", failures, ran())
	}
	if output() != "flushing pre-snapshot\n" || strings.Count(log.String(), "hook failed") != 3 {
		t.Fatalf("%q\n%s", output(), log)
	}
	if time.Since(begun) > 30*time.Second {
		t.Fatal("the slow hook was awaited")
	}
	write(t, filepath.Join(folder, "20-slow"), "exit 0", 0o755)
	if failures := found.preSnapshot(time.Minute); !slices.Equal(failures, want[:1]) || ran() != "40-last" {
		t.Fatalf("%q, ran %q", failures, ran())
	}
}

func TestPostRestoreHooksRunOnceAfterARestoreBeforeServices(t *testing.T) {
	path, ran := root(t, map[string]os.FileMode{
		"etc/netvps/hooks/post-restore.d/10-db": 0o755, "etc/netvps/start.d/db": 0o755,
	})
	run(path, false)
	if ran() != "db" {
		t.Fatal(ran())
	}
	if err := os.WriteFile(filepath.Join(path, restoredFile), []byte("clone\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run(path, false)
	run(path, false)
	if ran() != "db, 10-db, db, db" {
		t.Fatal(ran())
	}
}

func TestASlowPostRestoreHookIsEndedAndTheOthersRun(t *testing.T) {
	path, ran := root(t, map[string]os.FileMode{"etc/netvps/hooks/post-restore.d/20-next": 0o755})
	write(t, filepath.Join(path, "etc/netvps/hooks/post-restore.d/10-slow"), "echo $NETVPS_RESTORED; exec sleep 60", 0o755)
	if err := os.WriteFile(filepath.Join(path, restoredFile), []byte("restore\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	found, log, output := hooks(t, path)
	found.postRestore(200 * time.Millisecond)
	if ran() != "20-next" || output() != "restore\n" || !strings.Contains(log.String(), "limit of 200ms") {
		t.Fatalf("%q %q\n%s", ran(), output(), log)
	}
	if _, err := os.Stat(filepath.Join(path, restoredFile)); !os.IsNotExist(err) {
		t.Fatal("they would run again", err)
	}
}

func TestWithoutHooksNothingRuns(t *testing.T) {
	found, log, _ := hooks(t, t.TempDir())
	if failures := found.PreSnapshot(); failures != nil {
		t.Fatal(failures)
	}
	found.PostRestore()
	if log.Len() > 0 {
		t.Fatal(log)
	}
}
