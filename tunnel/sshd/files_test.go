package sshd_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// file writes 20 MB of noise.
func (r *rig) file(name string) (path string, data []byte) {
	data = make([]byte, 20_000_000)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(data)
	path = filepath.Join(r.dir, name)
	r.check(os.WriteFile(path, data, 0o640))
	return path, data
}

func (r *rig) same(path string, data []byte) {
	r.t.Helper()
	got, err := os.ReadFile(path)
	r.check(err)
	if !bytes.Equal(got, data) {
		r.t.Fatalf("%s differs: %d bytes", path, len(got))
	}
}

func TestFilesArriveUnchangedBothWays(t *testing.T) {
	port := (*rig).portText
	copies := map[string]func(r *rig, from, to string) result{
		"scp": func(r *rig, from, to string) result {
			return r.run(r.client("scp", append(r.options("id"), "-P", port(r), from, to)...))
		},
		"scp -O": func(r *rig, from, to string) result {
			return r.run(r.client("scp", append(r.options("id"), "-O", "-P", port(r), from, to)...))
		},
		"rsync": func(r *rig, from, to string) result {
			return r.run(r.client("rsync", "-a", "-e", "ssh -p "+port(r)+" "+strings.Join(r.options("id"), " "), from, to))
		},
	}
	for name, transfer := range copies {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			source, data := r.file("source")
			there, back := filepath.Join(r.dir, "there"), filepath.Join(r.dir, "back")
			remote := to(t) + ":" + there
			if got := transfer(r, source, remote); got.code != 0 {
				t.Fatalf("up: %+v", got)
			}
			if got := transfer(r, remote, back); got.code != 0 {
				t.Fatalf("down: %+v", got)
			}
			r.same(there, data)
			r.same(back, data)
		})
	}
}

func TestSftpStartsInTheHomeAndKnowsItsOperations(t *testing.T) {
	r := newRig(t)
	source, data := r.file("source")
	folder := filepath.Join(r.dir, "folder")
	batch := strings.Join([]string{
		"pwd", "mkdir " + folder, "cd " + folder, "put " + source + " a", "rename a b", "ln -s b c", "get c " + filepath.Join(r.dir, "through"), "chmod 600 b", "ls -l",
		"df", "get b " + filepath.Join(r.dir, "back"), "rm c", "-rmdir " + folder,
	}, "\n")
	cmd := r.client("sftp", append(r.options("id"), "-P", r.portText(), "-b", "-", to(t))...)
	cmd.Stdin = strings.NewReader(batch)
	got := r.run(cmd)
	home, err := os.UserHomeDir()
	r.check(err)
	if got.code != 0 || !strings.Contains(got.stdout, "Remote working directory: "+home) {
		t.Fatalf("got %+v", got)
	}
	r.same(filepath.Join(folder, "b"), data)
	r.same(filepath.Join(r.dir, "through"), data)
	r.same(filepath.Join(r.dir, "back"), data)
}

func TestSftpTakesTildePaths(t *testing.T) {
	r := newRig(t)
	source, data := r.file("source")
	home, err := os.UserHomeDir()
	r.check(err)
	fromHome, err := filepath.Rel(home, source)
	r.check(err)
	back := filepath.Join(r.dir, "back")
	from := to(t) + ":~" + me(t) + "/" + fromHome
	if got := r.run(r.client("scp", append(r.options("id"), "-P", r.portText(), "-s", from, back)...)); got.code != 0 {
		t.Fatalf("got %+v", got)
	}
	r.same(back, data)
}
