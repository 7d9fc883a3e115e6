package sshd_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// me is who the tests run as; root, where they may log in as others too.
func me(t *testing.T) string {
	current, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return current.Username
}

func to(t *testing.T) string { return me(t) + "@127.0.0.1" }

func TestExitStatusAndOutputArrive(t *testing.T) {
	r := newRig(t)
	for command, want := range map[string]result{
		"true":                         {0, "", ""},
		"echo out; echo err >&2":       {0, "out\n", "err\n"},
		"exit 1":                       {1, "", ""},
		"exit 255":                     {255, "", ""},
		"no-such-command 2>/dev/null":  {127, "", ""},
		"kill -TERM $$":                {255, "", ""}, // OpenSSH's client reports any signal as 255
		"cat":                          {0, "", ""},
		"head -c 3 /dev/zero | wc -c":  {0, "3\n", ""},
		"(sleep 0.3; echo late) & :":   {0, "late\n", ""},
		"sleep 60 >/dev/null 2>&1 & :": {0, "", ""},
	} {
		if got := r.run(r.ssh(to(t), command)); got != want {
			t.Errorf("%s: %+v", command, got)
		}
	}
}

// dial logs in with x/crypto/ssh, for what OpenSSH's client does not show.
func (r *rig) dial() *ssh.Client {
	data, err := os.ReadFile(filepath.Join(r.dir, "id"))
	r.check(err)
	signer, err := ssh.ParsePrivateKey(data)
	r.check(err)
	return r.dialWith(signer)
}

func (r *rig) dialWith(signer ssh.Signer) *ssh.Client {
	client, err := ssh.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port), &ssh.ClientConfig{
		User: me(r.t), Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.FixedHostKey(r.server.HostKey.PublicKey()),
	})
	r.check(err)
	r.t.Cleanup(func() { _ = client.Close() })
	return client
}

func (r *rig) session() *ssh.Session {
	session, err := r.dial().NewSession()
	r.check(err)
	return session
}

func TestDeathBySignalHasItsName(t *testing.T) {
	r := newRig(t)
	for signal, name := range map[string]string{"TERM": "TERM", "KILL": "KILL", "SEGV": "SEGV", "BUS": "SIG@openssh.com"} {
		err := r.session().Run("kill -" + signal + " $$")
		if exit, ok := err.(*ssh.ExitError); !ok || exit.Signal() != name {
			t.Errorf("%s: %v", signal, err)
		}
	}
}

func TestSignalReachesTheWholeGroup(t *testing.T) {
	r := newRig(t)
	session := r.session()
	stdout, err := session.StdoutPipe()
	r.check(err)
	r.check(session.Start("sleep 60 & echo started; wait"))
	_, err = io.ReadFull(stdout, make([]byte, len("started\n")))
	r.check(err)
	r.check(session.Signal(ssh.SIGTERM))
	if exit, ok := session.Wait().(*ssh.ExitError); !ok || exit.Signal() != "TERM" {
		t.Fatalf("got %v", exit)
	}
	if rest, _ := io.ReadAll(stdout); len(rest) != 0 { // ends only when the sleep has ended too
		t.Fatalf("got %q", rest)
	}
}

func TestBytesArriveUnchangedBothWays(t *testing.T) {
	r := newRig(t)
	data := make([]byte, 20<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(data)
	cmd := r.ssh(to(t), "cat")
	cmd.Stdin = bytes.NewReader(data)
	start := time.Now()
	got := r.run(cmd)
	t.Logf("20 MiB through cat in %v", time.Since(start))
	if got.code != 0 || sha256.Sum256([]byte(got.stdout)) != sha256.Sum256(data) {
		t.Fatalf("code %d, %d bytes, %s", got.code, len(got.stdout), got.stderr)
	}
}

func TestEnvironmentIsByAllowList(t *testing.T) {
	r := newRig(t)
	cmd := r.ssh("-o", "SendEnv=LC_TEST NETVPS_TEST EDITOR LD_PRELOAD", to(t),
		`echo "$LC_TEST|$NETVPS_TEST|$EDITOR|$LD_PRELOAD|$USER|$HOME|$PWD|${SSH_CONNECTION%% *}|$SSH_TTY"`)
	cmd.Env = append(os.Environ(), "LC_TEST=a b", "NETVPS_TEST=1", "EDITOR=evil", "LD_PRELOAD=evil")
	editor := os.Getenv("EDITOR") // the container's own passes
	current, err := user.Current()
	r.check(err)
	want := strings.Join([]string{"a b", "1", editor, "", current.Username, current.HomeDir, current.HomeDir, "127.0.0.1", ""}, "|")
	if got := r.run(cmd); got.stdout != want+"\n" {
		t.Fatalf("got %+v, want %s", got, want)
	}
}

func TestUnknownSubsystemIsRefusedAndTheConnectionStays(t *testing.T) {
	r := newRig(t)
	client := r.dial()
	session, err := client.NewSession()
	r.check(err)
	if err := session.RequestSubsystem("netconf"); err == nil {
		t.Fatal("taken")
	}
	if ok, _, err := client.SendRequest("no-such-request@example.org", true, nil); ok || err != nil {
		t.Fatalf("unknown request: %v %v", ok, err)
	}
	if ok, _, err := client.SendRequest("keepalive@openssh.com", true, nil); !ok || err != nil {
		t.Fatalf("keepalive: %v %v", ok, err)
	}
	if _, _, err := client.OpenChannel("x11", nil); err == nil {
		t.Fatal("unknown channel taken")
	}
	session, err = client.NewSession()
	r.check(err)
	if out, err := session.Output("echo still here"); err != nil || string(out) != "still here\n" {
		t.Fatalf("%q %v", out, err)
	}
}

func TestAccountsThatAreShutRunNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	r := newRig(t)
	got := r.run(r.ssh("games@127.0.0.1", "id")) // its shell is nologin
	if got.code == 0 || strings.Contains(got.stdout, "uid") {
		t.Errorf("games: %+v", got)
	}
	if got = r.run(r.ssh("missing@127.0.0.1", "id")); got.code != 255 || got.stdout != "" {
		t.Errorf("unknown user: %+v", got)
	}
}
