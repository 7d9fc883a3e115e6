package sshd_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// reverser answers what it was sent, backwards, once the sender has half-closed.
func reverser(t *testing.T, network, address string) net.Addr {
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				data, _ := io.ReadAll(conn)
				_, _ = conn.Write(reversed(data))
				_ = conn.Close()
			}()
		}
	}()
	return listener.Addr()
}

func reversed(data []byte) []byte {
	backwards := make([]byte, 0, len(data))
	for i := len(data); i > 0; i-- {
		backwards = append(backwards, data[i-1])
	}
	return backwards
}

// ask sends data, half-closes, and returns the answer.
func ask(t *testing.T, network, address string, data []byte) []byte {
	t.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	go func() {
		_, _ = conn.Write(data)
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// background runs ssh until the test is over; ready says when it is up.
func (r *rig) background(ready func() bool, args ...string) {
	cmd := r.ssh(append(args, "-N", "-o", "ExitOnForwardFailure=yes", to(r.t))...)
	stop := start(r.t, cmd)
	r.t.Cleanup(stop)
	r.waitFor("ssh "+strings.Join(args, " "), ready)
}

func start(t *testing.T, cmd *exec.Cmd) (stop func()) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Log(stderr.String())
	}
}

func freePort(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func listens(network, address string) func() bool {
	return func() bool {
		conn, err := net.Dial(network, address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}
}

func TestForwardsKeepHalfClose(t *testing.T) {
	folder := t.TempDir()
	tcp := reverser(t, "tcp", "127.0.0.1:0").String()
	unix := reverser(t, "unix", filepath.Join(folder, "target")).String()
	for name, forward := range map[string]struct{ flag, network, target string }{
		"local TCP":   {"-L", "tcp", tcp},
		"local Unix":  {"-L", "unix", unix},
		"remote TCP":  {"-R", "tcp", tcp},
		"remote Unix": {"-R", "unix", unix},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			entry := freePort(t)
			if forward.network == "unix" {
				entry = filepath.Join(t.TempDir(), "entry")
			}
			r.background(listens(forward.network, entry), forward.flag, entry+":"+forward.target)
			data := bytes.Repeat([]byte("netvps! "), 300_000)
			for range 3 {
				if got := ask(t, forward.network, entry, data); sha256.Sum256(got) != sha256.Sum256(reversed(data)) {
					t.Fatalf("got %d bytes", len(got))
				}
			}
		})
	}
}

func TestRemoteForwardOnAnyPortAndItsCancel(t *testing.T) {
	r := newRig(t)
	client := r.dial()
	listener, err := client.Listen("tcp", "127.0.0.1:0")
	r.check(err)
	port := listener.Addr().(*net.TCPAddr).Port
	if port == 0 {
		t.Fatal("no port")
	}
	r.check(listener.Close())
	if _, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
		t.Fatal("still listening")
	}
}

func TestListenersEndWithTheirConnection(t *testing.T) {
	r := newRig(t)
	client := r.dial()
	listener, err := client.Listen("tcp", "127.0.0.1:0")
	r.check(err)
	_ = client.Close()
	r.waitFor("the listener's end", func() bool { return !listens("tcp", listener.Addr().String())() })
}

func TestForwardThatCannotConnectSaysWhy(t *testing.T) {
	r := newRig(t)
	_, err := r.dial().Dial("tcp", "127.0.0.1:1")
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Fatalf("got %v", err)
	}
}

func TestAgentIsForwarded(t *testing.T) {
	r := newRig(t)
	socket := filepath.Join(r.dir, "agent")
	agent := r.client("ssh-agent", "-D", "-a", socket)
	t.Cleanup(start(t, agent))
	r.waitFor("ssh-agent", listens("unix", socket))
	add := r.client("ssh-add", filepath.Join(r.dir, "id"))
	add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	if got := r.run(add); got.code != 0 {
		t.Fatalf("ssh-add: %+v", got)
	}
	// The first of two equal options counts.
	args := append([]string{"-A", "-o", "IdentityAgent=" + socket}, r.ssh(to(t), `echo $SSH_AUTH_SOCK; ssh-add -L`).Args[1:]...)
	got := r.run(r.client("ssh", args...))
	path, keys, _ := strings.Cut(got.stdout, "\n")
	if got.code != 0 || !strings.Contains(keys, r.key) {
		t.Fatalf("got %+v", got)
	}
	r.waitFor("the socket's removal", func() bool { return !exists(filepath.Dir(path)) })
}

func TestTargetEndsWhenTheClientClosesItsChannel(t *testing.T) {
	r := newRig(t)
	broken := make(chan error, 1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	r.check(err)
	defer func() { _ = listener.Close() }()
	go func() { // takes no notice of the client's EOF
		conn, err := listener.Accept()
		for err == nil {
			time.Sleep(5 * time.Millisecond)
			_, err = conn.Write([]byte("x"))
		}
		broken <- err
	}()
	conn, err := r.dial().Dial("tcp", listener.Addr().String())
	r.check(err)
	r.check(conn.Close())
	select {
	case <-broken:
	case <-time.After(5 * time.Second):
		t.Fatal("the target is still connected")
	}
}
