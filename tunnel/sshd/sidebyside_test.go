package sshd_test

import (
	"embed"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Debian's sshd with PAM and the agent's server side by side, on one machine with files in /etc of the test's own:
//
//	ssh ─┬─ agent's server ─┬─ the same commands, as root and as Ann
//	     └─ /usr/sbin/sshd ─┘
//
// The test runs itself once more in a mount namespace of its own, for those files.
const inNamespace = "NETVPS_TEST_IN_NAMESPACE"

// differs are the variables that are meant to differ, and why.
var differs = func() map[string]string {
	meant := map[string]string{}
	for _, line := range written("differs") {
		name, why, _ := strings.Cut(line, ": ")
		meant[name] = why
	}
	return meant
}()

// asked is what a login shows of itself: one line each, all in one command.
var asked = strings.Join(written("login.sh"), "\n")

// ends are commands whose exit codes and last words must be the same.
var ends = written("ends.sh")

//go:embed testdata
var testdata embed.FS

// written returns the lines of a file in testdata that are no comments. The test of a session reads the same files
// (tests/e2e/sidebyside.py).
func written(name string) []string {
	text, err := testdata.ReadFile("testdata/" + name)
	if err != nil {
		panic(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "#") })
}

func TestSideBySideWithDebiansServer(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		runInNamespace(t)
		return
	}
	r := newRig(t)
	r.server.Environ = nil
	machine(r)
	port := r.sshd()
	for _, login := range []string{"root", "Ann"} {
		t.Run(login, func(t *testing.T) {
			r.t = t
			for _, terminal := range []string{"-T", "-tt"} {
				ours, theirs := r.both(port, terminal, login+"@127.0.0.1", asked)
				compareLines(t, ours.stdout+ours.stderr, theirs.stdout+theirs.stderr)
			}
			mine, debians := r.clientOf(r.portText(), login), r.clientOf(port, login)
			for _, command := range ends {
				for _, pty := range []bool{false, true} {
					if ours, theirs := r.end(mine, command, pty), r.end(debians, command, pty); ours != theirs {
						t.Errorf("%s, terminal %v\nours   %s\ntheirs %s", command, pty, ours, theirs)
					}
				}
			}
		})
	}
	for name, compare := range map[string]func(*testing.T, *rig, string){
		"signals": endsBySignals, "disconnect": hearsThatTheClientIsGone, "terminal": obeysTheTerminal,
		"files": makesFilesAlike, "login shells": startsLoginShells, "variables": takesVariables,
	} {
		t.Run(name, func(t *testing.T) { compare(t, r, port) })
	}
}

func runInNamespace(t *testing.T) {
	missing := os.Geteuid() != 0 || exec.Command("unshare", "-m", "true").Run() != nil
	for _, path := range []string{"/usr/sbin/sshd", "/etc/pam.d/sshd"} {
		missing = missing || !exists(path)
	}
	if missing && strings.Contains(os.Getenv("NETVPS_REQUIRE"), "ssh") {
		t.Fatal("no sshd with PAM, or no mount namespace")
	}
	if missing {
		t.Skip("needs root, sshd with PAM and a mount namespace")
	}
	again := exec.CommandContext(t.Context(), "unshare", "-m", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v=false")
	again.Env = append(os.Environ(), inNamespace+"=1")
	again.WaitDelay = 5 * time.Second
	if out, err := again.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// machine puts files of the test over those in /etc, and an empty folder over root's home; Ann's is another.
func machine(r *rig) {
	for fd := range 1024 { // what the test itself was started with
		if fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	home, roots := filepath.Join(r.dir, "home"), filepath.Join(r.dir, "roots")
	r.check(os.Mkdir(home, 0o755))
	r.check(os.Chown(home, 4242, 4243))
	r.check(os.Mkdir(roots, 0o700))
	r.check(unix.Mount(roots, "/root", "", unix.MS_BIND, ""))
	for folder := r.dir; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		r.check(os.Chmod(folder, 0o755))
	}
	locales := filepath.Join(r.dir, "default")
	r.check(os.Mkdir(locales, 0o755))
	r.check(os.WriteFile(filepath.Join(locales, "locale"), []byte("LANG=en_US.UTF-8\nLC_PAPER=C\n"), 0o644))
	r.check(unix.Mount(locales, "/etc/default", "", unix.MS_BIND, ""))
	append := func(path, text string) {
		old, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			r.t.Fatal(err)
		}
		ours := filepath.Join(r.dir, filepath.Base(path))
		r.check(os.WriteFile(ours, []byte(string(old)+text), 0o644))
		r.check(unix.Mount(ours, path, "", unix.MS_BIND, ""))
	}
	append("/etc/passwd", "Ann:x:4242:4243::"+home+":/bin/bash\n"+accounts)
	append("/etc/shadow", "Ann:*:19000:0:99999:7:::\nBob:*:19000:0:99999:7:::\nCy:*:19000:0:99999:7:::\nEve:*:19000:0:99999:7:::\nFlo:*:19000:0:99999:7:::\n")
	append("/etc/group", "Ann:x:4243:\nstaff2:x:4244:Ann\n")
	append("/etc/environment", "# test\nFROM_ETC=yes\nexport QUOTED=\"two words\"\n")
}

// sshd starts Debian's server with the rig's key, and returns its port.
func (r *rig) sshd() (port string) {
	_, port, _ = strings.Cut(freePort(r.t), ":")
	keys, hostKey := filepath.Join(r.dir, "keys"), filepath.Join(r.dir, "host")
	r.check(os.WriteFile(keys, []byte(r.key+"\n"), 0o644))
	r.newKey("host")
	config := filepath.Join(r.dir, "sshd_config")
	r.check(os.WriteFile(config, []byte(fmt.Sprintf("ListenAddress 127.0.0.1:%s\nHostKey %s\nAuthorizedKeysFile %s\nPermitRootLogin yes\n"+
		"StrictModes no\nUsePAM yes\nPidFile none\nAcceptEnv LANG LC_*\nSubsystem sftp internal-sftp\nPrintMotd no\nPrintLastLog no\nLogLevel ERROR\nMaxStartups 100\n", port, hostKey, keys)), 0o644))
	r.check(os.MkdirAll("/run/sshd", 0o755))
	r.t.Cleanup(start(r.t, exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", config)))
	r.waitFor("sshd", listens("tcp", "127.0.0.1:"+port))
	return port
}

func (r *rig) both(port string, args ...string) (ours, theirs result) {
	r.t.Helper()
	run := func(port string) result {
		options := []string{"-p", port, "-o", "StrictHostKeyChecking=no", "-o", "SendEnv=LC_TIME LC_PAPER LANG"}
		cmd := r.client("ssh", append(append(options, without(r.options("id"), "UserKnownHostsFile")...), args...)...)
		cmd.Env = append(os.Environ(), "LC_TIME=de_DE.UTF-8", "LC_PAPER=POSIX", "LANG=C", "TERM=vt220")
		if args[0] == "-T" { // a terminal echoes it, at any time
			cmd.Stdin = strings.NewReader("input\n")
		}
		return r.run(cmd)
	}
	return run(r.portText()), run(port)
}

// without leaves out an option, for which /dev/null takes the place.
func without(options []string, name string) []string {
	kept := []string{"-o", name + "=/dev/null"}
	for i := 0; i < len(options); i++ {
		if options[i] == "-o" && strings.HasPrefix(options[i+1], name) {
			i++
			continue
		}
		kept = append(kept, options[i])
	}
	return kept
}

// compareLines takes lines "NAME: VALUE" and "env NAME=VALUE".
func compareLines(t *testing.T, ours, theirs string) {
	t.Helper()
	mine, debians := parsed(ours), parsed(theirs)
	names := append(slices.Collect(maps.Keys(mine)), slices.Collect(maps.Keys(debians))...)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		variable, _ := strings.CutPrefix(name, "env ")
		if _, meant := differs[variable]; !meant && mine[name] != debians[name] {
			t.Errorf("%s\nours   %q\ntheirs %q", name, mine[name], debians[name])
		}
	}
}

func parsed(text string) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		end := strings.IndexAny(line, ":=")
		if end < 0 {
			end = len(line)
		}
		found[line[:end]] += line[end:]
	}
	return found
}
