package authkeys

import (
	"crypto/ed25519"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"netvps/tunnel/passwd"
)

var now = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB, seed byte) (ssh.PublicKey, string) {
	private := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), 32)))
	key, err := ssh.NewPublicKey(private.Public())
	check(t, err)
	return key, string(ssh.MarshalAuthorizedKey(key))
}

func TestOptionsAreKeptOrTheLineDoesNotHold(t *testing.T) {
	key, line := newKey(t, 'k')
	all := Limits{NoTerminal: true, NoForwarding: true, NoAgent: true, NoX11: true}
	but := func(change func(*Limits)) Limits { limits := all; change(&limits); return limits }
	for options, want := range map[string]*Limits{
		"":             {},
		"restrict":     &all,
		"restrict,pty": ptr(but(func(l *Limits) { l.NoTerminal = false })),
		"Restrict,PORT-forwarding,X11-Forwarding":                                    ptr(but(func(l *Limits) { l.NoForwarding, l.NoX11 = false, false })),
		"no-pty,no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc": &all,
		`command="echo \"a, b\""`:                                                    {Forced: true, Command: `echo "a, b"`},
		`command=""`:                                                                 {Forced: true},
		`from="10.1.0.0/16"`:                                                         {},
		`from="10.1.2.*,!10.1.2.3"`:                                                  {},
		`from="10.1.2.?"`:                                                            {},
		`environment="A=1",tunnel="0"`:                                               {},
		`expiry-time="20260616"`:                                                     {},
		`expiry-time="202606151201Z"`:                                                {},
		`expiry-time="20260615120001Z"`:                                              {},
		`from="10.2.0.0/16"`:                                                         nil,
		`from="10.1.2.*,!10.1.2.4"`:                                                  nil,
		`from="!10.2.0.1"`:                                                           nil,
		`from="10.1.2.4/99"`:                                                         nil,
		`from="example.org"`:                                                         nil,
		`from=""`:                                                                    nil,
		`from="10.1.2.4",from="10.1.2.4"`:                                            nil,
		`expiry-time="20260614"`:                                                     nil,
		`expiry-time="20260615120000Z"`:                                              nil,
		`expiry-time="2026"`:                                                         nil,
		`expiry-time="20269999"`:                                                     nil,
		`command="a",command="b"`:                                                    nil,
		`command=a`:                                                                  nil,
		`permitopen="localhost:80"`:                                                  nil,
		`permitlisten="80"`:                                                          nil,
		`cert-authority`:                                                             nil,
		`principals="root"`:                                                          nil,
		`verify-required`:                                                            nil,
		`no-such-option`:                                                             nil,
		`restrict,no-such-option`:                                                    nil,
	} {
		text := strings.TrimSpace(options + " " + line)
		got, err := search([]byte("# comment\n\nnonsense\n"+text), key, netip.MustParseAddr("10.1.2.4"), now)
		if want == nil && err == nil || want != nil && (err != nil || got != *want) {
			t.Errorf("%s: %+v %v", options, got, err)
		}
	}
}

func ptr(limits Limits) *Limits { return &limits }

func TestLaterLineMayHold(t *testing.T) {
	key, line := newKey(t, 'k')
	_, other := newKey(t, 'o')
	text := other + `from="192.0.2.1" ` + line + "restrict " + line + line
	got, err := search([]byte(text), key, netip.MustParseAddr("10.1.2.4"), now)
	if err != nil || !got.NoTerminal {
		t.Fatalf("%+v %v", got, err)
	}
	if _, err := search([]byte(other), key, netip.Addr{}, now); !errors.Is(err, ErrNotListed) {
		t.Fatal(err)
	}
}

// home is that of an account, with its key listed.
func home(t *testing.T) (passwd.Account, ssh.PublicKey, string) {
	folder, err := filepath.EvalSymlinks(t.TempDir())
	check(t, err)
	key, line := newKey(t, 'k')
	file := filepath.Join(folder, ".ssh/authorized_keys")
	check(t, os.Mkdir(filepath.Dir(file), 0o700))
	check(t, os.WriteFile(file, []byte(line), 0o600))
	return passwd.Account{Name: "me", UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Home: folder}, key, file
}

func TestFilesThatOthersMayWriteDoNotCount(t *testing.T) {
	for name, change := range map[string]func(file string) error{
		"":       func(string) error { return nil },
		"file":   func(file string) error { return os.Chmod(file, 0o660) },
		".ssh":   func(file string) error { return os.Chmod(filepath.Dir(file), 0o702) },
		"home":   func(file string) error { return os.Chmod(filepath.Dir(filepath.Dir(file)), 0o777) },
		"folder": func(file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) },
		"gone":   os.Remove,
		"link to a file in a folder that others may write to": func(file string) error {
			open := filepath.Join(filepath.Dir(filepath.Dir(file)), "open")
			return errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777), os.Rename(file, open+"/keys"), os.Symlink(open+"/keys", file))
		},
	} {
		account, key, file := home(t)
		check(t, change(file))
		if _, err := Find(account, key, netip.Addr{}, now); (err == nil) != (name == "") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFilesOfAnotherUserDoNotCount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	account, key, file := home(t)
	check(t, os.Chown(file, 4242, 0))
	if _, err := Find(account, key, netip.Addr{}, now); err == nil {
		t.Error("counted")
	}
}

func FuzzSearch(f *testing.F) {
	key, line := newKey(f, 'k')
	f.Add(`command="a\"b",from="10.0.0.0/8,!10.0.0.1",expiry-time="20300101" ` + line)
	f.Add(`restrict,pty ` + line)
	f.Add(`from="*?*" ` + line)
	f.Fuzz(func(t *testing.T, text string) {
		limits, err := search([]byte(text), key, netip.MustParseAddr("10.1.2.4"), now)
		if err == nil && !limits.Forced && strings.Contains(strings.ToLower(strings.SplitN(text, " ", 2)[0]), `command="`) &&
			!strings.ContainsAny(text, "\n\t#") && strings.HasPrefix(strings.ToLower(text), `command="`) {
			t.Errorf("%q: a command was lost", text)
		}
	})
}

func FuzzMatchPattern(f *testing.F) {
	f.Add("10.*.?", "10.1.2")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if matchPattern(text, text) != true && !strings.ContainsAny(text, "*?") {
			t.Errorf("%q does not match itself", text)
		}
		_ = matchPattern(pattern, text)
	})
}
