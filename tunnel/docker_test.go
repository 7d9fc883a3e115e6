package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"netvps/tunnel/api"
	"netvps/tunnel/environ"
	"netvps/tunnel/internal/gatewaytest"
)

// box is a container without a network that runs the agent as PID 1, with a gateway at its tunnel:
//
//	ssh ── TCP on loopback ── gatewaytest ── run/tunnel.sock ── agent in the container
type box struct {
	t       *testing.T
	name    string
	dir     string
	port    string
	gateway *gatewaytest.Gateway
}

// docker runs the engine's client; where there is no engine the test is skipped, unless it is required.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func needDocker(t *testing.T) {
	if err := exec.Command("docker", "info").Run(); err != nil {
		if strings.Contains(os.Getenv("NETVPS_REQUIRE"), "docker") {
			t.Fatal("no Docker engine: ", err)
		}
		t.Skip("no Docker engine: ", err)
	}
}

// image imports a root folder with the busybox applets named, or none.
func image(t *testing.T, applets ...string) string {
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "bin"), 0o755))
	must(t, os.MkdirAll(filepath.Join(root, "usr/sbin"), 0o755))
	if len(applets) > 0 {
		busybox, err := exec.LookPath("busybox")
		must(t, err)
		program, err := os.ReadFile(busybox)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(root, "bin/busybox"), program, 0o755))
		for _, applet := range applets {
			must(t, os.Symlink("busybox", filepath.Join(root, "bin", applet)))
		}
	}
	name := fmt.Sprintf("netvps-agenttest-%d:%d", os.Getpid(), time.Now().UnixNano())
	archive := filepath.Join(t.TempDir(), "image.tar")
	must(t, exec.Command("tar", "-C", root, "-cf", archive, ".").Run())
	docker(t, "import", archive, name)
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", "-f", name).Run() })
	return name
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newBox runs the image with the engine's options and the image's command, if any.
func newBox(t *testing.T, image string, options []string, command ...string) *box {
	b := &box{t: t, dir: t.TempDir(), name: fmt.Sprintf("netvps-agenttest-%d-%d", os.Getpid(), time.Now().UnixNano())}
	agent := filepath.Join(b.dir, "agent")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=test "+environ.LinkerFlag, "-o", agent, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := filepath.Join(b.dir, "run")
	must(t, os.Mkdir(run, 0o700))
	b.gateway = gatewaytest.New(t, run, &api.AgentConfig{Generation: 1, AuthorizedKeys: []string{b.newKey()}})
	args := append([]string{"run", "-d", "--name", b.name, "--network", "none", "-v", agent + ":/.netvps/agent:ro",
		"-v", run + ":/.netvps/run:ro", "--tmpfs", "/.netvps/private:size=4m,mode=700"}, options...)
	args = append(args, image, "/.netvps/agent", "init")
	if len(command) > 0 {
		args = append(append(args, "--"), command...)
	}
	t.Cleanup(func() {
		if logs, err := exec.Command("docker", "logs", b.name).CombinedOutput(); err == nil {
			t.Logf("log of the container:\n%s", logs)
		}
		_ = exec.Command("docker", "rm", "-f", b.name).Run()
	})
	docker(t, args...)
	b.gateway.NextHello()
	b.gateway.Next(func(m *api.ControlRequest) bool { return m.GetConfigApplied() == 1 })
	b.listen()
	return b
}

func (b *box) newKey() string {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(b.t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	must(b.t, err)
	must(b.t, os.WriteFile(filepath.Join(b.dir, "id"), pem.EncodeToMemory(block), 0o600))
	signer, err := ssh.NewSignerFromSigner(private)
	must(b.t, err)
	return string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
}

// listen gives the box's SSH server a port on loopback, through the tunnel.
func (b *box) listen() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(b.t, err)
	b.t.Cleanup(func() { _ = listener.Close() })
	b.port = strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				stream, err := b.gateway.Open(&api.DialTarget{Target: &api.DialTarget_Ssh{Ssh: true}})
				if err != nil {
					_ = conn.Close()
					return
				}
				gatewaytest.Join(stream, conn.(*net.TCPConn))
			}()
		}
	}()
}

// client runs ssh, scp or sftp against the box; portFlag is how that program spells its port.
func (b *box) client(name, portFlag string, stdin []byte, args ...string) (code int, stdout, stderr string) {
	b.t.Helper()
	options := []string{"-F", "none", portFlag, b.port, "-i", filepath.Join(b.dir, "id"), "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"}
	cmd := exec.Command(name, append(options, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		b.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func (b *box) ssh(command string) (code int, stdout, stderr string) {
	b.t.Helper()
	return b.client("ssh", "-p", nil, "root@127.0.0.1", command)
}

func TestBusyboxImageWithoutANetwork(t *testing.T) {
	needDocker(t)
	b := newBox(t, image(t, "sh", "sleep", "ps", "kill", "cat", "id"), nil)
	for command, want := range map[string]struct {
		code int
		out  string
	}{
		"exit 0": {0, ""}, "exit 1": {1, ""}, "exit 255": {255, ""}, "kill -9 $$": {255, ""},
		"echo $0 $USER $HOME; id -u": {0, "sh root /root\n0\n"},
	} {
		if code, out, stderr := b.ssh(command); code != want.code || out != want.out {
			t.Errorf("%s: %d %q %q", command, code, out, stderr)
		}
	}
	if code, out, _ := b.client("ssh", "-p", nil, "-tt", "root@127.0.0.1", "test -t 0 && test -t 1 && echo tty"); code != 0 || out != "tty\r\n" {
		t.Errorf("terminal: %d %q", code, out)
	}
	data := make([]byte, 100_000_000)
	_, _ = rand.Read(data)
	start := time.Now()
	_, out, _ := b.client("ssh", "-p", data, "root@127.0.0.1", "cat")
	if sha256.Sum256([]byte(out)) != sha256.Sum256(data) {
		t.Errorf("got %d bytes", len(out))
	}
	t.Logf("100 MB up and down at once: %v", time.Since(start))
	t.Run("orphans are reaped", func(t *testing.T) { testOrphans(t, b) })
	t.Run("the agent comes back", func(t *testing.T) { testComeback(t, b) })
	t.Run("idle memory", func(t *testing.T) { testMemory(t, b) })
	t.Run("stop", func(t *testing.T) { testStop(t, b) })
}

func testOrphans(t *testing.T, b *box) {
	b.ssh("i=0; while [ $i -lt 200 ]; do (sleep 0.01 &) ; i=$((i+1)); done; sleep 0.3")
	if _, out, _ := b.ssh("ps -o stat,comm"); strings.Contains(out, "Z") || strings.Contains(out, "sleep") {
		t.Errorf("left:\n%s", out)
	}
}

func testComeback(t *testing.T, b *box) {
	b.ssh("kill -9 -1") // all but PID 1
	b.gateway.NextHello()
	if code, out, _ := b.ssh("echo back"); code != 0 || out != "back\n" {
		t.Errorf("%d %q", code, out)
	}
}

// testMemory adds up what the processes of an idle container hold for themselves; the program's text is shared by all
// sessions of a machine.
func testMemory(t *testing.T, b *box) {
	const most = 15 << 10 // KiB
	total := 0
	for line := range strings.Lines(docker(t, "top", b.name, "-o", "pid,rss,args")) {
		fields := strings.Fields(line)
		if _, err := strconv.Atoi(fields[0]); err != nil {
			continue
		}
		t.Log(strings.TrimSpace(line))
		rollup, err := os.ReadFile("/proc/" + fields[0] + "/smaps_rollup")
		must(t, err)
		_, after, _ := strings.Cut(string(rollup), "Private_Dirty:")
		size, err := strconv.Atoi(strings.Fields(after)[0])
		must(t, err)
		total += size
	}
	t.Logf("private: %d KiB", total)
	if total == 0 || total > most {
		t.Errorf("the agent holds %d KiB", total)
	}
}

func testStop(t *testing.T, b *box) {
	go func() { _, _, _ = b.client("ssh", "-p", nil, "-tt", "root@127.0.0.1") }() // an interactive shell ignores SIGTERM
	_, _, _ = b.ssh("sleep 1000 >/dev/null 2>&1 &")
	start := time.Now()
	docker(t, "stop", "-t", "20", b.name)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	if code := docker(t, "inspect", "-f", "{{.State.ExitCode}}", b.name); code != "0" {
		t.Errorf("exit code %s", code)
	}
}

func TestImageWithNothingInIt(t *testing.T) {
	needDocker(t)
	b := newBox(t, image(t), nil, "/no/such/command")
	code, _, stderr := b.ssh("true")
	if code != 127 || !strings.Contains(stderr, "this image has no shell") {
		t.Errorf("%d %q", code, stderr)
	}
	file := filepath.Join(b.dir, "file")
	data := make([]byte, 1_000_000)
	_, _ = rand.Read(data)
	must(t, os.WriteFile(file, data, 0o600))
	if code, _, stderr := b.client("scp", "-P", nil, file, "root@127.0.0.1:"); code != 0 {
		t.Fatalf("%d %s", code, stderr)
	}
	if code, _, stderr := b.client("scp", "-P", nil, "root@127.0.0.1:file", file+"-back"); code != 0 {
		t.Fatalf("%d %s", code, stderr)
	}
	back, err := os.ReadFile(file + "-back")
	must(t, err)
	if !bytes.Equal(back, data) {
		t.Error("the file has changed")
	}
}

func TestImagesOwnCommandIsSupervised(t *testing.T) {
	needDocker(t)
	b := newBox(t, image(t, "sh", "sleep", "touch", "ps"), nil, "/bin/sh", "-c", `trap "touch /stopped; exit 3" TERM; while :; do sleep 0.1; done`)
	if _, out, _ := b.ssh("ps"); !strings.Contains(out, "trap") {
		t.Errorf("not running:\n%s", out)
	}
	docker(t, "stop", "-t", "20", b.name)
	if changed := docker(t, "diff", b.name); !strings.Contains(changed, "A /stopped") {
		t.Error("did not get the stop signal:", changed)
	}
	if code := docker(t, "inspect", "-f", "{{.State.ExitCode}}", b.name); code != "0" {
		t.Errorf("exit code %s", code)
	}
}

func TestServicesStartAgainWithTheContainer(t *testing.T) {
	needDocker(t)
	b := newBox(t, image(t, "sh", "sleep", "mkdir", "chmod", "cat"), nil)
	code, _, stderr := b.ssh("mkdir -p /run /etc/netvps/start.d && cd /etc/netvps/start.d &&" +
		` printf '#!/bin/sh\n[ ! -e /run/web.pid ] || echo stale >>/started\n: >/run/web.pid\n' >web &&` +
		` printf 'echo "$PWD $PATH" >>/started; sleep 1000 &\n' >>web && chmod +x web`)
	if code != 0 {
		t.Fatal(stderr)
	}
	for start := 1; start <= 2; start++ {
		docker(t, "restart", "-t", "5", b.name)
		b.gateway.NextHello()
		b.gateway.Next(func(m *api.ControlRequest) bool { return m.GetConfigApplied() == 1 })
		want := strings.Repeat("/ /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n", start)
		out := ""
		for deadline := time.Now().Add(20 * time.Second); out != want && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			_, out, _ = b.ssh("cat /started")
		}
		if out != want {
			t.Errorf("start %d: %q", start, out)
		}
	}
}

func TestContainerWithoutCapabilitiesOnAReadOnlyDisk(t *testing.T) {
	needDocker(t)
	passwd := filepath.Join(t.TempDir(), "passwd")
	must(t, os.WriteFile(passwd, []byte("root:x:0:0::/:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n"), 0o644))
	b := newBox(t, image(t, "sh", "id"), []string{"--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
		"-v", passwd + ":/etc/passwd:ro"})
	if code, out, stderr := b.ssh("id -u"); code != 0 || out != "0\n" {
		t.Errorf("root: %d %q %q", code, out, stderr)
	}
	code, _, stderr := b.client("ssh", "-p", nil, "alice@127.0.0.1", "id")
	if code != 126 || !strings.Contains(stderr, "this container may not change users") {
		t.Errorf("alice: %d %q", code, stderr)
	}
}

func TestLoginAsAnotherUser(t *testing.T) {
	needDocker(t)
	etc := t.TempDir()
	must(t, os.WriteFile(filepath.Join(etc, "passwd"), []byte("alice:x:1000:1001::/home/alice:/bin/sh\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(etc, "group"), []byte("staff:x:50:alice\n"), 0o644))
	b := newBox(t, image(t, "sh", "id", "pwd"), []string{
		"-v", filepath.Join(etc, "passwd") + ":/etc/passwd:ro", "-v", filepath.Join(etc, "group") + ":/etc/group:ro"})
	if code, out, stderr := b.client("ssh", "-p", nil, "alice@127.0.0.1", "id; pwd; echo $HOME"); code != 0 ||
		out != "uid=1000(alice) gid=1001 groups=50(staff),1001\n/\n/home/alice\n" {
		t.Errorf("%d %q %q", code, out, stderr)
	}
	file := filepath.Join(b.dir, "file")
	must(t, os.WriteFile(file, []byte("x"), 0o600))
	if code, _, stderr := b.client("scp", "-P", nil, file, "alice@127.0.0.1:/bin/file"); code == 0 || !strings.Contains(stderr, "ermission denied") {
		t.Errorf("alice writes where only root may: %d %q", code, stderr)
	}
	if code, out, stderr := b.client("ssh", "-p", nil, "-tt", "alice@127.0.0.1", "echo x >/dev/tty && id -u"); code != 0 {
		t.Errorf("terminal: %d %q %q", code, out, stderr)
	}
}

func TestPort22IsTheImagesServersOnceItStarts(t *testing.T) {
	needDocker(t)
	b := newBox(t, image(t, "sh", "sleep", "nc", "cp", "head"), nil)
	first := "nc 127.0.0.1 22 </dev/null | head -c 14"
	if _, out, stderr := b.ssh("sleep 1; " + first); out != "SSH-2.0-netvps" {
		t.Fatalf("%q %q", out, stderr)
	}
	// Busybox called sshd says that it has no such applet; executed it was.
	// It ends at once, and the port may be free only after that: nc tries until it has it.
	b.ssh("cp /bin/busybox /usr/sbin/sshd; sleep 8; /usr/sbin/sshd; (until echo another | nc -l -p 22; do sleep 0.1; done >/dev/null 2>&1 &)")
	if _, out, stderr := b.ssh("until heard=$(" + first + " 2>/dev/null) && [ \"$heard\" ]; do sleep 0.1; done; echo \"$heard\""); out != "another\n" {
		t.Errorf("%q %q", out, stderr)
	}
	if _, out, stderr := b.ssh("sleep 8; " + first); out != "SSH-2.0-netvps" {
		t.Errorf("once it has ended: %q %q", out, stderr)
	}
}

func TestLoginShellAndExecInAnImageThatShutsEverybodyOut(t *testing.T) {
	needDocker(t)
	passwd := filepath.Join(t.TempDir(), "passwd")
	must(t, os.WriteFile(passwd, []byte("root:x:0:0:root:/root:/sbin/nologin\napp:x:65534:65534::/:/sbin/nologin\n"), 0o644))
	b := newBox(t, image(t, "sh"), []string{"-v", passwd + ":/etc/passwd:ro"})
	if code, out, stderr := b.ssh("echo in"); code != 0 || out != "in\n" {
		t.Errorf("root: %d %q %q", code, out, stderr)
	}
	if code, _, _ := b.client("ssh", "-p", nil, "app@127.0.0.1", "echo in"); code != 127 {
		t.Errorf("app: %d", code)
	}
}
