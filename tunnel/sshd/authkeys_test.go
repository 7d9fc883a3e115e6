package sshd_test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// list puts a key into another's authorized_keys, with options, and returns who to log in as.
func (r *rig) list(options string) (login string) {
	login = r.another()
	folder := filepath.Join(r.home, ".ssh")
	r.check(os.Mkdir(folder, 0o700))
	file := filepath.Join(folder, "authorized_keys")
	r.check(os.WriteFile(file, []byte(strings.TrimSpace(options+" "+r.newKey("listed"))+"\n"), 0o600))
	for _, path := range []string{folder, file} {
		r.check(os.Chown(path, 4242, 4243))
	}
	return login
}

func (r *rig) listed(args ...string) result {
	r.t.Helper()
	return r.run(r.client("ssh", append(append(r.options("listed"), "-p", r.portText()), args...)...))
}

func TestListedKeyLogsInAsItsAccountOnly(t *testing.T) {
	r := newRig(t)
	login := r.list("")
	if got := r.listed(login, "id -u"); got.stdout != "4242\n" {
		t.Errorf("got %+v", got)
	}
	if got := r.listed("root@127.0.0.1", "id -u"); got.code != 255 {
		t.Errorf("as root: %+v", got)
	}
	r.check(os.Chmod(filepath.Join(r.home, ".ssh"), 0o770))
	if got := r.listed(login, "id -u"); got.code != 255 {
		t.Errorf("though others may write there: %+v", got)
	}
}

func TestListedKeyDoesNotCountThroughTheTunnel(t *testing.T) {
	r := newRig(t)
	login := r.list("")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	r.check(err)
	defer func() { _ = listener.Close() }()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go r.server.ServeConn(conn)
		}
	}()
	r.port = listener.Addr().(*net.TCPAddr).Port
	insecure := []string{"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"}
	tunnel := append(insecure, "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", "-p", strconv.Itoa(r.port))
	for key, want := range map[string]string{"listed": "", "id": "in\n"} {
		args := append(append([]string{}, tunnel...), "-i", filepath.Join(r.dir, key), login, "echo in")
		if got := r.run(r.client("ssh", args...)); got.stdout != want {
			t.Errorf("%s: %+v", key, got)
		}
	}
}

func TestDatagramsAreRelayedByASubsystemUnlessForwardsAreForbidden(t *testing.T) {
	relay := func(argv []string, options string) result {
		r := newRig(t)
		r.server.UDP = argv
		login := r.list(options)
		cmd := r.client("ssh", append(r.options("listed"), "-p", r.portText(), "-s", login, "udp@netvps")...)
		cmd.Stdin = strings.NewReader("frames")
		return r.run(cmd)
	}
	if got := relay([]string{"/bin/cat"}, ""); got.stdout != "frames" {
		t.Errorf("got %+v", got)
	}
	for _, got := range []result{relay(nil, ""), relay([]string{"/bin/cat"}, "restrict")} {
		if got.code == 0 || !strings.Contains(got.stderr, "subsystem request failed") {
			t.Errorf("got %+v", got)
		}
	}
}

func TestOptionsOfAListedKeyAreKept(t *testing.T) {
	r := newRig(t)
	login := r.list(`restrict,command="echo \"$SSH_ORIGINAL_COMMAND\" forced"`)
	if got := r.listed(login, "id -u"); got.stdout != "id -u forced\n" {
		t.Errorf("command: %+v", got)
	}
	if got := r.listed(login); got.stdout != " forced\n" {
		t.Errorf("shell: %+v", got)
	}
	if got := r.listed("-s", login, "sftp"); got.stdout != "internal-sftp forced\n" {
		t.Errorf("sftp: %+v", got)
	}
	if got := r.listed("-tt", login); !strings.Contains(got.stderr, "PTY allocation request failed") {
		t.Errorf("terminal: %+v", got)
	}
	if got := r.listed("-W", "127.0.0.1:"+r.portText(), login); got.code != 255 || !strings.Contains(got.stderr, "forwarding failed") {
		t.Errorf("forward: %+v", got)
	}
	if got := r.listed("-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1", login, "true"); got.code != 255 {
		t.Errorf("remote forward: %+v", got)
	}
}

func TestListedKeyForFilesOnly(t *testing.T) {
	r := newRig(t)
	login := r.list(`restrict,command="internal-sftp"`)
	cmd := r.client("sftp", append(r.options("listed"), "-P", r.portText(), "-b", "-", login)...)
	cmd.Stdin = strings.NewReader("pwd\n")
	if got := r.run(cmd); got.code != 0 || !strings.Contains(got.stdout, r.home) {
		t.Fatalf("got %+v", got)
	}
}
