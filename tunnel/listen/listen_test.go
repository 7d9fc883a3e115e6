package listen

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// greeter is a yielding listener that says who it is, on a free port, with a folder for servers to be executed from.
type greeter struct {
	*testing.T
	*Yielding
	folder string
}

func newGreeter(t *testing.T, headStart time.Duration) *greeter {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	check(t, free.Close())
	g := &greeter{T: t, folder: t.TempDir()}
	g.Yielding = &Yielding{
		Address: free.Addr().String(), HeadStart: headStart, Serve: greet, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		settle: 300 * time.Millisecond, poll: 20 * time.Millisecond, folders: []string{g.folder, "/no/such/folder"},
	}
	return g
}

func (g *greeter) run() {
	ctx, cancel := context.WithCancel(g.Context())
	done := make(chan struct{})
	go func() { defer close(done); g.Yielding.Run(ctx) }()
	g.Cleanup(func() { cancel(); <-done })
}

func greet(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		_, _ = conn.Write([]byte("agent"))
		_ = conn.Close()
	}
}

// answers is who has the port: "agent", "other", or none.
func (g *greeter) answers() string {
	conn, err := net.Dial("tcp", g.Address)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	text, _ := io.ReadAll(conn)
	return string(text)
}

func (g *greeter) await(want string) {
	g.Helper()
	for deadline := time.Now().Add(10 * time.Second); g.answers() != want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.Fatalf("the port is %q's, not %q's", g.answers(), want)
		}
	}
}

// other listens as the image's server would, in a process of this test's own.
func (g *greeter) other() net.Listener {
	g.Helper()
	listener, err := net.Listen("tcp", g.Address)
	check(g.T, err)
	g.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("other"))
			_ = conn.Close()
		}
	}()
	return listener
}

func TestPortIsTakenAtOnceAndFreeAtTheEnd(t *testing.T) {
	g := newGreeter(t, 0)
	t.Run("while it runs", func(t *testing.T) {
		g.T = t
		g.run()
		g.await("agent")
	})
	g.T = t
	if got := g.answers(); got != "" {
		t.Errorf("still %q", got)
	}
}

func TestPortStaysWithWhomItBelongsToAndIsTakenOnceThatHasGone(t *testing.T) {
	g := newGreeter(t, 0)
	other := g.other()
	g.run()
	time.Sleep(2 * g.settle)
	check(t, other.Close())
	time.Sleep(g.settle / 3) // a restart
	other = g.other()
	time.Sleep(2 * g.settle)
	if got := g.answers(); got != "other" {
		t.Fatalf("the port is %q's", got)
	}
	check(t, other.Close())
	g.await("agent")
}

func TestCommandOfTheImageHasAHeadStart(t *testing.T) {
	g := newGreeter(t, time.Second)
	g.run()
	time.Sleep(200 * time.Millisecond)
	g.other()
	time.Sleep(1200 * time.Millisecond)
	if got := g.answers(); got != "other" {
		t.Fatalf("the port is %q's", got)
	}
}

func TestPortIsLeftToAServerThatStarts(t *testing.T) {
	g := newGreeter(t, 0)
	g.run()
	g.await("agent")
	program, err := os.ReadFile("/bin/true")
	check(t, err)
	for _, name := range []string{"sshd", "true"} {
		check(t, os.WriteFile(filepath.Join(g.folder, name), program, 0o755))
	}
	g.await("")      // opened for writing: it is installed, and may be started
	g.await("agent") // it was not
	check(t, exec.Command(filepath.Join(g.folder, "true")).Run())
	if got := g.answers(); got != "agent" {
		t.Fatalf("left to a program that is no server: %q", got)
	}
	check(t, exec.Command(filepath.Join(g.folder, "sshd")).Run())
	g.await("")
	g.other()
	time.Sleep(2 * g.settle)
	if got := g.answers(); got != "other" {
		t.Fatalf("the port is %q's", got)
	}
}

func FuzzTables(f *testing.F) {
	f.Add("  sl  local_address\n   0: 0100007F:0016 00000000:0000 0A 0\n", []byte{1, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 's', 's', 'h', 0})
	f.Fuzz(func(t *testing.T, table string, events []byte) {
		_ = hasListener(table, 22)
		_ = openedNames(events)
	})
}

func TestListeners(t *testing.T) {
	table := "  sl  local_address rem_address   st\n" +
		"   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000\n" +
		"   1: 0100007F:0017 0100007F:9C40 01 00000000:00000000\n"
	if !hasListener(table, 22) || hasListener(table, 23) || hasListener(table, 24) || hasListener("", 22) {
		t.Error("read wrongly")
	}
}
