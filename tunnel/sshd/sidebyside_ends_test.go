package sshd_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// How programs end, and what they hear of a client that is gone, of a window and of keys; part of
// TestSideBySideWithDebiansServer.

// tells makes a program that writes a line to a file for each signal that it gets.
const tells = `for s in HUP INT QUIT PIPE TERM USR1 CONT; do trap "echo $s >> %[1]s" $s; done
echo started
for n in $(seq 40); do echo $n 2>/dev/null || echo "cannot write" >> %[1]s; sleep 0.05; done
echo end >> %[1]s`

// stops are signals that stop a program in place of ending it.
var stops = []syscall.Signal{syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU}

const firstRealtime = 34

// clientOf logs in at a port of this machine by the rig's key.
func (r *rig) clientOf(port, user string) *ssh.Client {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, "id"))
	r.check(err)
	signer, err := ssh.ParsePrivateKey(text)
	r.check(err)
	client, err := ssh.Dial("tcp", "127.0.0.1:"+port, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	r.check(err)
	r.t.Cleanup(func() { _ = client.Close() })
	return client
}

// eachServer runs a function with the port of each, and compares what it returns.
func (r *rig) eachServer(t *testing.T, theirs string, what string, answer func(port string) string) {
	t.Helper()
	r.t = t
	if mine, debians := answer(r.portText()), answer(theirs); mine != debians {
		t.Errorf("%s\nours   %q\ntheirs %q", what, mine, debians)
	}
}

// end runs a command with one line of input, and returns all that a client learns of it.
func (r *rig) end(client *ssh.Client, command string, pty bool) string {
	r.t.Helper()
	session, err := client.NewSession()
	r.check(err)
	defer func() { _ = session.Close() }()
	var stdout, stderr bytes.Buffer
	session.Stdout, session.Stderr = &stdout, &stderr
	if pty {
		r.check(session.RequestPty("vt220", 24, 80, nil))
	} else {
		session.Stdin = strings.NewReader("input\n")
	}
	err = session.Run(command)
	said := fmt.Sprintf("stdout %q stderr %q", stdout.String(), stderr.String())
	var status *ssh.ExitError
	if errors.As(err, &status) {
		return fmt.Sprintf("%d %q %q %q %s", status.ExitStatus(), status.Signal(), status.Msg(), status.Lang(), said)
	}
	return fmt.Sprintf("%v %s", err, said)
}

func endsBySignals(t *testing.T, r *rig, theirs string) {
	r.t = t
	ours, debians := r.clientOf(r.portText(), "root"), r.clientOf(theirs, "root")
	for number := 1; number <= firstRealtime; number++ {
		if slices.Contains(stops, syscall.Signal(number)) || number == 32 || number == 33 { // the C library's own
			continue
		}
		for _, pty := range []bool{false, true} {
			command := fmt.Sprintf("ulimit -c 0; kill -%d $$; exit 3", number)
			if mine, theirs := r.end(ours, command, pty), r.end(debians, command, pty); mine != theirs {
				t.Errorf("signal %d, terminal %v\nours   %s\ntheirs %s", number, pty, mine, theirs)
			}
		}
	}
}

func hearsThatTheClientIsGone(t *testing.T, r *rig, theirs string) {
	for _, pty := range []bool{false, true} {
		r.eachServer(t, theirs, fmt.Sprintf("terminal %v", pty), func(port string) string {
			heard := filepath.Join(r.dir, fmt.Sprintf("heard-%s-%v", port, pty))
			client := r.clientOf(port, "root")
			session, err := client.NewSession()
			r.check(err)
			if pty {
				r.check(session.RequestPty("vt220", 24, 80, nil))
			}
			out, err := session.StdoutPipe()
			r.check(err)
			r.check(session.Start(fmt.Sprintf(tells, heard)))
			r.check(readUntil(out, "started"))
			_ = client.Close()
			r.waitFor("its end", func() bool {
				text, _ := os.ReadFile(heard)
				return strings.Contains(string(text), "end\n")
			})
			text, err := os.ReadFile(heard)
			r.check(err)
			lines := strings.Fields(strings.ReplaceAll(string(text), "cannot write", "cannot-write"))
			slices.Sort(lines)
			return strings.Join(slices.Compact(lines), " ")
		})
	}
}

func obeysTheTerminal(t *testing.T, r *rig, theirs string) {
	modes := ssh.TerminalModes{
		ssh.ECHO: 0, ssh.VINTR: 7, ssh.VEOF: 5, ssh.ICRNL: 1, ssh.IXON: 0, ssh.ONLCR: 0, ssh.IUTF8: 1,
		ssh.TTY_OP_ISPEED: 9600, ssh.TTY_OP_OSPEED: 9600,
	}
	script := `stty -a; stty size; trap "echo winch" WINCH; echo ready
until [ "$(stty size)" = "44 99" ]; do sleep 0.05; done # neither server promises an order of the change and the line
read x; echo "got $x"; stty size; trap "echo int; exit 3" INT; echo again; read y; echo never`
	r.eachServer(t, theirs, "terminal", func(port string) string {
		session, err := r.clientOf(port, "root").NewSession()
		r.check(err)
		r.check(session.RequestPty("vt220", 33, 77, modes))
		in, err := session.StdinPipe()
		r.check(err)
		var out lockedBuffer
		session.Stdout = &out
		r.check(session.Start(script))
		r.waitFor("the program", func() bool { return strings.Contains(out.String(), "ready") })
		r.check(session.WindowChange(44, 99))
		_, err = io.WriteString(in, "line\n")
		r.check(err)
		r.waitFor("its answer", func() bool { return strings.Contains(out.String(), "again") })
		_, err = in.Write([]byte{7})
		r.check(err)
		err = session.Wait()
		return out.String() + fmt.Sprint(err)
	})
}

// lockedBuffer is written by one goroutine and read by another.
type lockedBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *lockedBuffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(data)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

func readUntil(from io.Reader, word string) error {
	var read []byte
	piece := make([]byte, 256)
	for deadline := time.Now().Add(10 * time.Second); !bytes.Contains(read, []byte(word)); {
		n, err := from.Read(piece)
		if read = append(read, piece[:n]...); err != nil || time.Now().After(deadline) {
			return fmt.Errorf("%q in place of %q: %w", read, word, err)
		}
	}
	return nil
}
