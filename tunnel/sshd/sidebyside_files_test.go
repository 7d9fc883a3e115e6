package sshd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Files that clients make, accounts of all kinds, login shells, and which variables a client may send; part of
// TestSideBySideWithDebiansServer.

// accounts are more of them than root and Ann. The agent has no list of shells to refuse.
const accounts = `Bob:x:4245:4243::/no/such/home:/bin/bash
Cy:x:4246:4243::/tmp:/usr/sbin/nologin
Eve:x:4247:4243::/tmp:
Flo:x:4248:4243::/tmp:/bin/false
`

// made makes files in a new folder of the home directory, over a shell, sftp and scp; a listing follows.
func (r *rig) made(t *testing.T, port, login string) string {
	options := append(r.optionsFor("id"), "-o", "Port="+port)
	said := ""
	run := func(program, stdin string, args ...string) {
		cmd := r.client(program, append(append([]string{}, options...), args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		got := r.run(cmd)
		said += fmt.Sprintf("%s: %d %s %s\n", program, got.code, got.stdout, got.stderr)
	}
	source := filepath.Join(r.dir, "source-of-modes")
	r.check(os.WriteFile(source, []byte("content\n"), 0o640))
	r.check(os.Chmod(source, 0o4751))
	r.check(os.Chtimes(source, old, old))
	run("ssh", "", login, "rm -rf t && mkdir t && cd t && echo x > file && mkdir dir && mkfifo fifo && ln -s a link && : > empty")
	batch := "pwd\ncd t\nput SRC put\nput -p SRC kept\nmkdir made\nln -s put symlink\nln put hard\nput SRC renamed\nrename renamed new\n" +
		"put SRC chmod\nchmod 2604 chmod\nput SRC gone\nrm gone\nmkdir gone\nrmdir gone\n-get none /dev/null\n-rename none other\n" +
		"-mkdir made\n-rmdir t/none\n-ln none/a none/b\nls -1\n-cd none\n-chown 1 put\n-chmod 600 none\n-symlink a a\n-symlink a a\n"
	run("sftp", strings.ReplaceAll(batch, "SRC", source), "-b", "-", login)
	run("scp", "", source, login+":t/scp")
	run("scp", "", "-p", source, login+":t/scp-p")
	run("scp", "", "-O", "-p", source, login+":t/scp-O-p")
	run("ssh", "", login, `cd t && find . -printf '%P %M %U:%G %n %y %l %s\n' | sort; stat -c '%n %Y' kept scp-p scp-O-p; umask; cd; rm -rf t`)
	return strings.ReplaceAll(said, port, "PORT")
}

// old is the time of a file that clients copy with its time.
var old = time.Unix(981_173_106, 0)

func makesFilesAlike(t *testing.T, r *rig, theirs string) {
	for _, login := range []string{"root", "Ann"} {
		r.eachServer(t, theirs, login, func(port string) string { return r.made(t, port, login+"@127.0.0.1") })
	}
}

func startsLoginShells(t *testing.T, r *rig, theirs string) {
	asked := "echo answer $0 $- $(shopt login_shell) $(pwd) $SHELL $HOME\nexit 7\n"
	for _, login := range []string{"root", "Ann", "Bob", "Cy", "Eve", "Flo"} {
		for _, terminal := range []string{"-T", "-tt"} {
			r.eachServer(t, theirs, login+" "+terminal, func(port string) string {
				cmd := r.client("ssh", append(r.optionsFor("id"), "-p", port, terminal, login+"@127.0.0.1")...)
				cmd.Stdin = strings.NewReader(asked)
				got := r.run(cmd)
				answers := ""
				for line := range strings.Lines(got.stdout) {
					if strings.HasPrefix(line, "answer ") || strings.Contains(line, "not available") {
						answers += line
					}
				}
				return fmt.Sprintf("%d %q %q", got.code, answers, got.stderr)
			})
		}
		r.eachServer(t, theirs, login+" command", func(port string) string {
			return fmt.Sprintf("%+v", r.run(r.client("ssh", append(r.optionsFor("id"), "-p", port, login+"@127.0.0.1",
				"echo $0 $- $(pwd) $SHELL $HOME; exit 7")...)))
		})
	}
}

// acceptedToo are variables that the agent accepts from clients and Debian's sshd does not, and why.
var acceptedToo = map[string]string{
	"COLORTERM": "accepted by Debian's sshd from version 13 on",
	"TERM":      "a program without a terminal may want it",
	"NETVPS_X":  "netvps's own clients send such",
}

func takesVariables(t *testing.T, r *rig, theirs string) {
	r.t = t
	for _, name := range []string{"LANG", "LC_ALL", "LC_X", "LANGUAGE", "FOO", "PATH", "LD_PRELOAD", "BASH_ENV", "COLORTERM", "TERM", "NETVPS_X"} {
		accepted := func(port string) bool {
			session, err := r.clientOf(port, "root").NewSession()
			r.check(err)
			defer func() { _ = session.Close() }()
			return session.Setenv(name, "x") == nil
		}
		_, meant := acceptedToo[name]
		if mine, debians := accepted(r.portText()), accepted(theirs); mine != (debians || meant) {
			t.Errorf("%s: accepted by ours: %v, by theirs: %v", name, mine, debians)
		}
	}
}

// optionsFor are options of ssh, scp and sftp for a server whose host key the rig does not know.
func (r *rig) optionsFor(identity string) []string {
	return append([]string{"-o", "StrictHostKeyChecking=no"}, without(r.options(identity), "UserKnownHostsFile")...)
}
