package nv

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"netvps/tunnel/api"
	"netvps/tunnel/passwd"
)

// serving is a server whose answers say what was asked.
func serving(t *testing.T, shell string) (socket string) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	line := "me:x:" + strconv.Itoa(os.Getuid()) + ":0::/:" + shell + "\n"
	if err := os.WriteFile(filepath.Join(root, "etc/passwd"), []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	server := &Server{Users: passwd.Database{Root: root}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	server.Ask = func(_ context.Context, request *api.SelfServiceRequest) (*api.SelfServiceResponse, error) {
		switch {
		case request.GetSnapshot():
			return nil, errors.New("not connected")
		case request.GetSleep():
			return &api.SelfServiceResponse{Text: "it is moving", Failed: true}, nil
		}
		return &api.SelfServiceResponse{Text: "kept for " + request.GetKeep().AsDuration().String()}, nil
	}
	socket = filepath.Join(t.TempDir(), "nv.sock")
	if err := os.WriteFile(socket, nil, 0o600); err != nil { // as an earlier agent may have left something
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Listen(ctx, socket) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Listen: %v", err)
		}
	})
	for start := time.Now(); time.Since(start) < 10*time.Second; {
		if info, err := os.Stat(socket); err == nil && info.Mode()&os.ModeSocket != 0 && info.Mode().Perm() == 0o666 {
			return socket
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("it does not listen")
	return ""
}

func TestRequestsGetTheirAnswers(t *testing.T) {
	socket := serving(t, "/bin/sh")
	for _, test := range []struct {
		args     string
		code     int
		out, err string
	}{
		{"keep 2h", 0, "kept for 2h0m0s\n", ""},
		{"keep 90", 0, "kept for 1m30s\n", ""},
		{"keep 0", 0, "kept for 0s\n", ""},
		{"sleep", 1, "", "nv: it is moving\n"},
		{"snapshot", 1, "", "nv: not connected\n"},
		{"", 2, "", "nv: no command\nusage:"},
		{"keep", 2, "", "nv: keep needs one time"},
		{"keep tomorrow", 2, "", `nv: "tomorrow" is not a time`},
		{"status now", 2, "", "nv: status takes no argument"},
		{"dance", 2, "", `nv: unknown command "dance"`},
	} {
		var out, problems bytes.Buffer
		code := run(socket, strings.Fields(test.args), &out, &problems)
		if code != test.code || out.String() != test.out || !strings.HasPrefix(problems.String(), test.err) {
			t.Errorf("nv %s: %d, %q, %q", test.args, code, out.String(), problems.String())
		}
	}
}

func TestAccountsOfServicesMayNotAsk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	socket := serving(t, "/bin/sh")
	for folder := filepath.Dir(socket); folder != os.TempDir(); folder = filepath.Dir(folder) {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var out, problems bytes.Buffer
	code := 0
	account := passwd.Account{Name: "www", UID: 4242, GID: 4243}
	if err := account.Do(func() error { code = run(socket, []string{"status"}, &out, &problems); return nil }); err != nil {
		t.Fatal(err)
	}
	if code != 1 || !strings.Contains(problems.String(), "user 4242 may not ask") {
		t.Errorf("%d, %q, %q", code, out.String(), problems.String())
	}
}

func TestWithoutAnAgentItSaysSo(t *testing.T) {
	var out, problems bytes.Buffer
	code := run(filepath.Join(t.TempDir(), "none"), []string{"status"}, &out, &problems)
	if code != 1 || !strings.Contains(problems.String(), "cannot reach the session's agent") {
		t.Errorf("%d, %q", code, problems.String())
	}
}

func TestTheProgramIsALinkThatIsLeftAlone(t *testing.T) {
	program := filepath.Join(t.TempDir(), "bin", "nv")
	for _, agent := range []string{"/agent", "/agent", "/other"} {
		if err := Install(program, agent); err != nil {
			t.Fatal(err)
		}
		if target, err := os.Readlink(program); err != nil || target != agent {
			t.Fatalf("%q, %v", target, err)
		}
	}
}
