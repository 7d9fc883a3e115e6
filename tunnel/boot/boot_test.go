package boot

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// root is a file system in which each file, by path, is a script that writes its name and arguments to /ran.
func root(t *testing.T, modes map[string]os.FileMode) (path string, ran func() string) {
	path = t.TempDir()
	ran = func() string {
		text, _ := os.ReadFile(filepath.Join(path, "ran"))
		return strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", ", ")
	}
	for name, mode := range modes {
		write(t, filepath.Join(path, name), "echo ${0##*/}${1:+ $1} >>"+filepath.Join(path, "ran"), mode)
	}
	return path, ran
}

func write(t *testing.T, path, script string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), mode); err != nil {
		t.Fatal(err)
	}
}

func run(path string, services bool) string {
	var log bytes.Buffer
	(&Starter{
		Root: path, Services: services, Patience: 200 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&log, nil)),
	}).Run(context.Background())
	return log.String()
}

func TestWhatIsEnabledIsStartedInOrder(t *testing.T) {
	path, ran := root(t, map[string]os.FileMode{
		"etc/init.d/cron": 0o755, "etc/rc2.d/K01old": 0o755, "etc/rc2.d/S01off": 0o644,
		"etc/netvps/start.d/20-second": 0o755, "etc/netvps/start.d/10-first.sh": 0o755, "etc/netvps/start.d/README": 0o644,
		"etc/netvps/start.d/10-first.sh~": 0o755, "etc/netvps/start.d/a.dpkg-old": 0o755, "etc/netvps/start.d/folder/x": 0o755,
		"etc/rc.local": 0o755,
	})
	if err := os.Symlink("../init.d/cron", filepath.Join(path, "etc/rc2.d/S02cron")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../init.d/gone", filepath.Join(path, "etc/rc2.d/S03gone")); err != nil {
		t.Fatal(err)
	}
	run(path, true)
	if ran() != "S02cron start, 10-first.sh, 20-second, rc.local" {
		t.Fatal(ran())
	}
}

func TestInitScriptsAreNotForAnImageWhoseCommandRuns(t *testing.T) {
	path, ran := root(t, map[string]os.FileMode{"etc/rc2.d/S01nginx": 0o755, "etc/rc.local": 0o755})
	if run(path, false); ran() != "rc.local" {
		t.Fatal(ran())
	}
}

func TestOneThatFailsOrStaysKeepsNoOtherFromItsStart(t *testing.T) {
	path, ran := root(t, map[string]os.FileMode{"etc/rc.local": 0o755})
	folder := filepath.Join(path, "etc/netvps/start.d")
	write(t, filepath.Join(folder, "1"), "exit 3", 0o755)
	write(t, filepath.Join(folder, "2"), "exec sleep 1", 0o755)
	write(t, filepath.Join(folder, "4"), "sleep 1 &", 0o755)
	if err := os.WriteFile(filepath.Join(folder, "3"), []byte("#!/no/such/program\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	log := run(path, false)
	for _, want := range []string{"exit status 3", "still running", "not started at boot", "/4", "/rc.local"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
	if ran() != "rc.local" {
		t.Fatal(ran())
	}
}

func TestNothingEnabledIsNoFault(t *testing.T) {
	if log := run(t.TempDir(), true); log != "" {
		t.Fatal(log)
	}
}
