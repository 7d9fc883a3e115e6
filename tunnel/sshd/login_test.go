package sshd_test

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"netvps/tunnel/api"
	"netvps/tunnel/passwd"
)

// another is an account that no test runs as; its home is root's folder "home", and empty.
func (r *rig) another() string {
	if os.Geteuid() != 0 {
		r.t.Skip("only root can become another user")
	}
	root := r.dir
	r.home = root + "/home"
	r.check(os.MkdirAll(root+"/etc", 0o755))
	r.check(os.Mkdir(r.home, 0o755))
	r.check(os.Chown(r.home, 4242, 4243))
	for folder := root; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		r.check(os.Chmod(folder, 0o755))
	}
	r.check(os.WriteFile(root+"/etc/passwd", []byte("root:x:0:0::/root:/bin/sh\n3Ann:x:4242:4243::"+r.home+":/bin/sh\n"), 0o644))
	r.check(os.WriteFile(root+"/etc/group", []byte("tty:x:77:\n"), 0o644))
	r.server.Users = passwd.Database{Root: root}
	return "3Ann@127.0.0.1"
}

func TestSSHClientIsSet(t *testing.T) {
	r := newRig(t)
	got := r.run(r.ssh(to(t), `echo "$SSH_CLIENT"; echo "$SSH_CONNECTION"`))
	var address, otherAddress, server string
	var port, otherPort, serverPort, again int
	if n, err := fmt.Sscan(got.stdout, &address, &port, &serverPort, &otherAddress, &otherPort, &server, &again); n != 7 ||
		address != "127.0.0.1" || port != otherPort || serverPort != again || server != address || otherAddress != address {
		t.Fatalf("%v: %+v", err, got)
	}
}

func TestGreetingNamesTheEpoch(t *testing.T) {
	r := newRig(t)
	r.server.Epoch = func() int64 { return 7 }
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)))
	r.check(err)
	defer func() { _ = conn.Close() }()
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "SSH-2.0-netvps epoch=7\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
}

func TestPipesAreTheUsersOwn(t *testing.T) {
	r := newRig(t)
	cmd := r.ssh(r.another(), "cat /dev/stdin >/dev/stdout; echo x >/dev/stderr; echo y >/proc/self/fd/1")
	cmd.Stdin = strings.NewReader("in\n")
	if got := r.run(cmd); got.code != 0 || got.stdout != "in\ny\n" || got.stderr != "x\n" {
		t.Fatalf("got %+v", got)
	}
}

func TestTerminalIsTheUsersAndOfGroupTty(t *testing.T) {
	r := newRig(t)
	got := r.run(r.ssh("-tt", r.another(), `stat -c "%u %g %a" $(tty)`))
	if got.code != 0 || got.stdout != "4242 77 620\r\n" {
		t.Fatalf("got %+v", got)
	}
}

// byCertificate logs in as the gateway does.
func (r *rig) byCertificate() *ssh.Client {
	ca, key := r.ca(), r.ca()
	r.apply(func(c *api.AgentConfig) { c.UserCaKeys = []string{line(ca.PublicKey())} })
	cert := &ssh.Certificate{
		Key: key.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"s1/" + me(r.t)},
		ValidBefore: uint64(time.Now().Add(time.Hour).Unix()),
	}
	r.check(cert.SignCert(rand.Reader, ca))
	signer, err := ssh.NewCertSigner(cert, key)
	r.check(err)
	return r.dialWith(signer)
}

func TestGatewayRunsAnArgvByNoShell(t *testing.T) {
	r := newRig(t)
	gateway := r.byCertificate()
	for line, want := range map[string]result{
		`printf '%s|' 'a  b' '$HOME' ''`: {0, "a  b|$HOME||", ""},
		`/bin/echo 'it'"'"'s'`:           {0, "it's\n", ""},
		"cd /":                           {127, "", `netvps: cannot run the command: "cd" is on no folder of PATH`},
		"/no/such":                       {127, "", "netvps: cannot run /no/such: "},
		"/etc":                           {126, "", "netvps: cannot run /etc: "},
		"printf '\xff\xc3'":              {0, "\xff\xc3", ""},
		"sh -c 'exit 3'":                 {3, "", ""},
		"exit 4; echo $HOME":             {4, "", ""}, // no argv: the shell has it, as before
	} {
		session, err := gateway.NewSession()
		r.check(err)
		r.check(session.Setenv("NETVPS_EXEC_ARGV", "1"))
		var stderr strings.Builder
		session.Stderr = &stderr
		out, err := session.Output(line)
		code := 0
		if exit, ok := err.(*ssh.ExitError); ok {
			code = exit.ExitStatus()
		}
		if code != want.code || string(out) != want.stdout || !strings.HasPrefix(stderr.String(), want.stderr) {
			t.Errorf("%s: %d %q %q %v", line, code, out, stderr.String(), err)
		}
	}
}

func TestOthersGetAShellWhateverTheySend(t *testing.T) {
	r := newRig(t)
	cmd := r.ssh("-o", "SetEnv=NETVPS_EXEC_ARGV=1", to(t), "cd / && echo $PWD")
	if got := r.run(cmd); got.stdout != "/\n" {
		t.Fatalf("got %+v", got)
	}
}
