package sshd_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"netvps/tunnel/activity"
	"netvps/tunnel/api"
	"netvps/tunnel/passwd"
	"netvps/tunnel/sftp"
	"netvps/tunnel/sshd"
)

// TestMain lets the test program stand in for the agent's sftp-server command.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "sftp-server" {
		if err := sftp.Serve(); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// rig is a server on a loopback port, and OpenSSH's clients to log in with.
type rig struct {
	t        *testing.T
	server   *sshd.Server
	dir      string
	port     int
	key      string // authorized, OpenSSH form
	config   *api.AgentConfig
	activity *activity.Tracker
	home     string // of another()
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, dir: t.TempDir(), activity: &activity.Tracker{}}
	hostKey, err := sshd.HostKey("s1", filepath.Join(r.dir, "state"))
	r.check(err)
	r.key = r.newKey("id")
	r.config = &api.AgentConfig{AuthorizedKeys: []string{r.key}}
	r.server = &sshd.Server{
		SessionUID: "s1", HostKey: hostKey, Users: passwd.Database{Root: "/"}, Activity: r.activity,
		Environ: os.Environ(), Sftp: []string{"/proc/self/exe", "sftp-server"}, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	r.server.Apply(r.config)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	r.check(err)
	r.port = listener.Addr().(*net.TCPAddr).Port
	done := make(chan error)
	go func() { done <- r.server.Serve(listener) }()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
		r.server.Apply(&api.AgentConfig{}) // closes what is left
	})
	known := "[127.0.0.1]:" + strconv.Itoa(r.port) + " " + string(ssh.MarshalAuthorizedKey(hostKey.PublicKey()))
	r.check(os.WriteFile(filepath.Join(r.dir, "known_hosts"), []byte(known), 0o600))
	return r
}

func (r *rig) check(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// newKey writes a private key to a file and returns the public one.
func (r *rig) newKey(name string) string {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	r.check(err)
	block, err := ssh.MarshalPrivateKey(private, "")
	r.check(err)
	r.check(os.WriteFile(filepath.Join(r.dir, name), pem.EncodeToMemory(block), 0o600))
	key, err := ssh.NewPublicKey(public)
	r.check(err)
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// options are those that ssh, scp and sftp share.
func (r *rig) options(identity string) []string {
	return []string{
		"-F", "none", "-o", "BatchMode=yes", "-o", "UserKnownHostsFile=" + filepath.Join(r.dir, "known_hosts"),
		"-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "LogLevel=ERROR",
		"-i", filepath.Join(r.dir, identity),
	}
}

// ssh makes a command: ssh OPTIONS ARGS….
func (r *rig) ssh(args ...string) *exec.Cmd {
	return r.client("ssh", append(append(r.options("id"), "-p", strconv.Itoa(r.port)), args...)...)
}

// client finds a program of OpenSSH (or rsync); without it the test is skipped, unless it is required.
func (r *rig) client(name string, args ...string) *exec.Cmd {
	r.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if strings.Contains(os.Getenv("NETVPS_REQUIRE"), "ssh") {
			r.t.Fatal(err)
		}
		r.t.Skip(err)
	}
	cmd := exec.CommandContext(r.t.Context(), path, args...)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// result is what a client saw.
type result struct {
	code           int
	stdout, stderr string
}

func (r *rig) run(cmd *exec.Cmd) result {
	r.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		r.t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func (r *rig) waitFor(what string, condition func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (r *rig) portText() string { return strconv.Itoa(r.port) }
