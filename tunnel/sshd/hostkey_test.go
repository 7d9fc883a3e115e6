package sshd

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"
)

func fingerprint(t *testing.T, uid string, folders ...string) string {
	t.Helper()
	key, err := HostKey(uid, folders...)
	if err != nil {
		t.Fatal(err)
	}
	return ssh.FingerprintSHA256(key.PublicKey())
}

func TestHostKeyStaysAndAForkGetsItsOwn(t *testing.T) {
	state, run := filepath.Join(t.TempDir(), "state"), t.TempDir()
	key := fingerprint(t, "s1", state, run)
	if again := fingerprint(t, "s1", state, run); again != key {
		t.Fatal("another key after a restart")
	}
	if fork := fingerprint(t, "s2", state, run); fork == key {
		t.Fatal("a fork has its parent's key")
	}
	entries, err := os.ReadDir(state)
	if err != nil || len(entries) != 1 || entries[0].Name() != "host_ed25519_s2" {
		t.Fatalf("a fork keeps %v %v", entries, err)
	}
}

func TestHostKeyFallsBackToTheSecondFolder(t *testing.T) {
	run := t.TempDir()
	state := filepath.Join(t.TempDir(), "missing")
	if err := os.Symlink("/proc/no-such", state); err != nil { // cannot be made, like a folder on a read-only disk
		t.Fatal(err)
	}
	key := fingerprint(t, "s1", state, run)
	if again := fingerprint(t, "s1", state, run); again != key {
		t.Fatal("another key after a restart")
	}
}

func TestDamagedHostKeyIsAnErrorAndNotReplaced(t *testing.T) {
	state := t.TempDir()
	if err := os.WriteFile(filepath.Join(state, "host_ed25519_s1"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := HostKey("s1", state); err == nil {
		t.Fatal("replaced")
	}
}
