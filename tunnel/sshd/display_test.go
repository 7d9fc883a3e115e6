package sshd_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// screen is a fake X server on loopback that hands on the first bytes of each connection.
func screen(t *testing.T) (name string, greetings chan []byte) {
	greetings = make(chan []byte, 4)
	for number := 300; number < 400; number++ {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 6000+number))
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				greeting := make([]byte, 48)
				_, _ = io.ReadFull(conn, greeting)
				greetings <- greeting
				_, _ = conn.Write([]byte("shown"))
				_ = conn.Close()
			}
		}()
		return fmt.Sprintf("127.0.0.1:%d", number), greetings
	}
	t.Fatal("no port for a screen")
	return "", nil
}

func TestWindowsAreShownByTheClient(t *testing.T) {
	r := newRig(t)
	login := r.another()
	name, greetings := screen(t)
	cmd := r.ssh("-Y", login, "echo $DISPLAY; cat")
	cmd.Env = append(os.Environ(), "DISPLAY="+name)
	stdin, err := cmd.StdinPipe()
	r.check(err)
	stdout, err := cmd.StdoutPipe()
	r.check(err)
	t.Cleanup(start(t, cmd))
	line, err := bufio.NewReader(stdout).ReadString('\n')
	r.check(err)
	var number, of int
	if _, err := fmt.Sscanf(line, "localhost:%d.%d\n", &number, &of); err != nil || number < 10 || of != 0 {
		t.Fatalf("DISPLAY is %q", line)
	}
	file := filepath.Join(r.home, ".Xauthority")
	entry, err := os.ReadFile(file)
	r.check(err)
	info, err := os.Stat(file)
	r.check(err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("cookie is readable by others: %v", info.Mode())
	}
	if got := r.run(r.ssh(login, "stat -c %u "+file)); got.stdout != "4242\n" {
		t.Errorf("cookie's owner: %+v", got)
	}
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", 6000+number))
	r.check(err)
	defer func() { _ = conn.Close() }()
	_, err = conn.Write(hello(entry[len(entry)-16:]))
	r.check(err)
	if answer, _ := io.ReadAll(conn); string(answer) != "shown" {
		t.Errorf("the screen answers %q", answer)
	}
	if greeting := <-greetings; !bytes.Contains(greeting, []byte("MIT-MAGIC-COOKIE-1")) {
		t.Errorf("the screen got %q", greeting)
	}
	r.check(stdin.Close())
	r.waitFor("the display's end", func() bool { return !listens("tcp", fmt.Sprintf("127.0.0.1:%d", 6000+number))() })
}

// hello is the first message of an X client (X11 protocol, 8), with a cookie of 16 bytes.
func hello(cookie []byte) []byte {
	name := "MIT-MAGIC-COOKIE-1"
	out := []byte{'l', 0}
	for _, field := range []int{11, 0, len(name), len(cookie), 0} {
		out = binary.LittleEndian.AppendUint16(out, uint16(field))
	}
	return append(append(out, name+"\x00\x00"...), cookie...)
}

func TestCookieGoesElsewhereWhereTheHomeCannotHoldIt(t *testing.T) {
	r := newRig(t)
	login := r.another()
	r.check(os.Chown(r.home, 0, 0))
	name, _ := screen(t)
	cmd := r.ssh("-Y", login, `echo "$XAUTHORITY"; stat -c %u "$XAUTHORITY"`)
	cmd.Env = append(os.Environ(), "DISPLAY="+name)
	got := r.run(cmd)
	path, owner, _ := strings.Cut(got.stdout, "\n")
	if owner != "4242\n" {
		t.Fatalf("got %+v", got)
	}
	r.waitFor("the cookie's removal", func() bool { return !exists(filepath.Dir(path)) })
}
