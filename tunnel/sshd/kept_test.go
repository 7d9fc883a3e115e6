package sshd_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"netvps/tunnel/api"
)

// window is what a client on a terminal sees.
type window struct {
	r       *rig
	session *ssh.Session
	keys    io.WriteCloser
	mu      sync.Mutex
	seen    bytes.Buffer
}

func (s *window) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.Write(p)
}

func (s *window) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}

func (s *window) await(part string) {
	s.r.t.Helper()
	s.r.waitFor(part, func() bool { return strings.Contains(s.text(), part) })
}

func (s *window) say(text string) {
	s.r.t.Helper()
	_, err := io.WriteString(s.keys, text)
	s.r.check(err)
}

// keep opens a shell on the kept terminal of a label, at a window of so many columns; a watcher's label is the command.
func (r *rig) keep(client *ssh.Client, label string, columns int, watch bool) *window {
	r.t.Helper()
	session, err := client.NewSession()
	r.check(err)
	s := &window{r: r, session: session}
	session.Stdout, session.Stderr = s, s
	s.keys, err = session.StdinPipe()
	r.check(err)
	r.check(session.RequestPty("xterm", 24, columns, nil))
	if watch {
		r.check(session.Start(label))
		return s
	}
	r.check(session.Setenv("NETVPS_TERMINAL", label))
	r.check(session.Shell())
	return s
}

func TestKeptTerminalOutlivesItsConnection(t *testing.T) {
	r := newRig(t)
	first := r.dial()
	s := r.keep(first, "work", 80, false)
	s.say("PS1='$ '; there=still; echo a$((1+1))b\n")
	s.await("a2b")
	s.say("(sleep 0.2; echo c$((1+1))d) &\n")
	r.check(first.Close())
	r.waitFor("the client to be detached", func() bool { return strings.Contains(r.kept(), "  0         0 ") })
	again := r.keep(r.dial(), "work", 101, false)
	again.await("a2b")
	again.await("c2d")
	again.say("echo $there; stty size; exit 3\n")
	again.await("still")
	again.await("24 101")
	if exit, ok := again.session.Wait().(*ssh.ExitError); !ok || exit.ExitStatus() != 3 {
		t.Fatalf("its shell's exit code is lost: %q", again.text())
	}
	r.waitFor("it to be gone", func() bool { return !strings.Contains(r.kept(), "work") })
}

// kept is what the subsystem prints.
func (r *rig) kept() string {
	client := r.dial()
	defer func() { _ = client.Close() }()
	session, err := client.NewSession()
	r.check(err)
	stdout, err := session.StdoutPipe()
	r.check(err)
	stderr, err := session.StderrPipe()
	r.check(err)
	r.check(session.RequestSubsystem("terminals@netvps"))
	table, err := io.ReadAll(stdout)
	r.check(err)
	said, err := io.ReadAll(stderr)
	r.check(err)
	return string(table) + string(said)
}

func TestTwoClientsShareAKeptTerminal(t *testing.T) {
	r := newRig(t)
	if got := r.kept(); !strings.Contains(got, "no terminal is kept here") {
		t.Fatalf("got %q", got)
	}
	one := r.keep(r.dial(), "work", 80, false)
	r.waitFor("the first", func() bool { return strings.Contains(r.kept(), "  1         0        80x24") })
	other := r.keep(r.dial(), "work", 90, false)
	r.waitFor("both", func() bool { return strings.Contains(r.kept(), "  2         0        90x24") })
	one.say("echo f$((1+1))\n")
	one.await("f2")
	other.await("f2")
	r.check(one.session.WindowChange(33, 70))
	r.waitFor("the new size", func() bool { return strings.Contains(r.kept(), "70x33") })
	other.say("stty size; exit\n")
	one.await("33 70")
	r.check(one.session.Wait())
	r.check(other.session.Wait())
}

func TestBadLabelIsExplained(t *testing.T) {
	r := newRig(t)
	s := r.keep(r.dial(), "No good", 80, false)
	if s.session.Wait() == nil || !strings.Contains(s.text(), `"No good" is not a label`) {
		t.Fatalf("got %q", s.text())
	}
}

// watching logs in as the gateway does for one who watches.
func (r *rig) watching(who string) *ssh.Client {
	ca, key := r.ca(), r.ca()
	r.apply(func(c *api.AgentConfig) { c.UserCaKeys = []string{line(ca.PublicKey())} })
	cert := &ssh.Certificate{
		Key: key.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"s1/.watch"}, KeyId: who + "@dev1.ann",
		ValidBefore: uint64(time.Now().Add(time.Hour).Unix()),
	}
	r.check(cert.SignCert(rand.Reader, ca))
	signer, err := ssh.NewCertSigner(cert, key)
	r.check(err)
	client, err := ssh.Dial("tcp", "127.0.0.1:"+r.portText(), &ssh.ClientConfig{
		User: ".watch", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	r.check(err)
	r.t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestWatcherReadsAlongAndDoesNothingElse(t *testing.T) {
	r := newRig(t)
	s := r.keep(r.dial(), "work", 80, false)
	s.say("echo g$((1+1))\n")
	s.await("g2")
	client := r.watching("bob")
	bob := r.keep(client, "", 80, true)
	bob.await("g2")
	s.await("[netvps: bob watches this terminal]")
	bob.say("touch /tmp/never\n")
	s.say("echo h$((1+1))\n")
	bob.await("h2")
	if strings.Contains(s.text(), "never") {
		t.Fatalf("the watcher typed: %q", s.text())
	}
	bob.say("\x03")
	r.check(bob.session.Wait())
	s.await("[netvps: bob does not watch any more]")
	other := r.keep(client, "nosuch", 80, true)
	if other.session.Wait() == nil || !strings.Contains(other.text(), `no terminal "nosuch" is kept here, but: work`) {
		t.Fatalf("got %q", other.text())
	}
	if _, err := client.Dial("tcp", "127.0.0.1:"+r.portText()); err == nil {
		t.Fatal("a watcher forwards")
	}
	if _, err := client.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Fatal("a watcher listens")
	}
	session, err := client.NewSession()
	r.check(err)
	if session.RequestSubsystem("sftp") == nil || session.RequestSubsystem("terminals@netvps") == nil {
		t.Fatal("a watcher reads files")
	}
	s.say("exit\n")
	r.check(s.session.Wait())
}

func TestKeyDoesNotLogInAsWatcher(t *testing.T) {
	r := newRig(t)
	if got := r.run(r.ssh(".watch@127.0.0.1")); got.code != 255 || !strings.Contains(got.stderr, "Permission denied") {
		t.Fatalf("got %+v", got)
	}
}

func TestOpenSSHComesBackToAKeptTerminal(t *testing.T) {
	r := newRig(t)
	login := func(input string) result {
		cmd := r.ssh("-tt", "-o", "SetEnv=NETVPS_TERMINAL=work", to(t))
		cmd.Stdin = strings.NewReader(input)
		return r.run(cmd)
	}
	done := make(chan result)
	go func() { done <- login("echo i$((1+1))j\n") }()
	r.waitFor("it to be kept", func() bool { return strings.Contains(r.kept(), "work") })
	if got := login("echo k$((1+1))l; exit 4\n"); got.code != 4 || !strings.Contains(got.stdout, "k2l") {
		t.Fatalf("got %+v", got)
	}
	if got := <-done; got.code != 4 || !strings.Contains(got.stdout, "i2j") {
		t.Fatalf("got %+v", got)
	}
}
