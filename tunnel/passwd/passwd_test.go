package passwd

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func database(t *testing.T, passwd, group string) Database {
	root := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	check(t, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte(passwd), 0o644))
	check(t, os.WriteFile(filepath.Join(root, "etc/group"), []byte(group), 0o644))
	return Database{Root: root}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLookup(t *testing.T) {
	d := database(t, strings.Join([]string{
		"# comment:x:1:1::/:/bin/sh",
		"root:x:0:0:root:/root:/bin/bash",
		"",
		"short:x:1:1",
		"alice:x:1000:1000:Alice,,,:/home/alice:/bin/zsh",
		"alice:x:0:0:second entry:/root:/bin/sh",
		"minus:x:-1:0::/:/bin/sh",
		"all:x:4294967295:0::/:/bin/sh",
		"huge:x:4294967296:0::/:/bin/sh",
		"word:x:one:0::/:/bin/sh",
		"+nis:x:5:5::/:/bin/sh",
		"bare:x:7:7:::",
		"dos:x:8:8::/dos:/bin/sh\r",
		":x:0:0::/:/bin/sh",
	}, "\n"), strings.Join([]string{
		"root:x:0:", "wheel:x:10:root,alice", "alice:x:1000:alice", "docker:x:998: alice ", "bad:x:y:alice", "short:x",
		"wheel2:x:10:alice", "others:x:11:alicea,bob",
	}, "\n"))
	for name, want := range map[string]Account{
		"root":  {"root", 0, 0, []uint32{10}, "/root", "/bin/bash", false},
		"alice": {"alice", 1000, 1000, []uint32{10, 998}, "/home/alice", "/bin/zsh", false},
		"bare":  {"bare", 7, 7, nil, "/", "/bin/sh", false},
		"dos":   {"dos", 8, 8, nil, "/dos", "/bin/sh", false},
	} {
		if got, err := d.Lookup(name); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	for _, name := range []string{"", "# comment", "short", "minus", "all", "huge", "word", "+nis", "bob", "root:x", "ROOT"} {
		if got, err := d.Lookup(name); err == nil {
			t.Errorf("%q: %+v", name, got)
		}
	}
}

func TestImageWithoutPasswdHasRoot(t *testing.T) {
	d := Database{Root: t.TempDir()}
	if got, err := d.Lookup("root"); err != nil || got.UID != 0 || got.Home != "/" {
		t.Fatalf("%+v %v", got, err)
	}
	check(t, os.Mkdir(filepath.Join(d.Root, "root"), 0o700))
	if got, _ := d.Lookup("root"); got.Home != "/root" {
		t.Fatalf("%+v", got)
	}
	if _, err := d.Lookup("alice"); err == nil {
		t.Fatal("alice found in nothing")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("root:x:0:0:root:/root:/bin/bash")
	f.Add("wheel:x:10:root,alice")
	f.Add(":::::::")
	f.Fuzz(func(t *testing.T, line string) {
		if account, ok := parseAccount(line); ok && (account.Name == "" || !filepath.IsAbs(account.Home)) {
			t.Errorf("%q: %+v", line, account)
		}
		if _, _, members, ok := parseGroup(line); ok && len(members) == 0 {
			t.Errorf("%q: no members slice", line)
		}
	})
}

func TestLoginShell(t *testing.T) {
	first, _ := (Account{}).LoginShell("") // the first usual one of this machine
	for shell, want := range map[string]Shell{
		"/bin/sh":          {"/bin/sh", "sh"},
		"/no/such/zsh":     first,
		"/no/such/nologin": {"/no/such/nologin", "nologin"},
		"/usr/bin/false":   {"/usr/bin/false", "false"},
	} {
		if got, err := (Account{Shell: shell}).LoginShell(""); err != nil || got != want {
			t.Errorf("%s: %+v %v", shell, got, err)
		}
	}
	if applet("/bin/busybox") != "sh" {
		t.Error("busybox needs the name of an applet")
	}
}

func TestRootGetsInWhereItsShellWouldShutOutEverybody(t *testing.T) {
	shut := "root:x:0:0::/root:/no/such/nologin\nguest:x:65534:65534::/:/usr/sbin/nologin\nsync:x:4:4::/bin:/bin/true\n"
	alone, err := database(t, shut, "").Lookup("root")
	check(t, err)
	folder := t.TempDir()
	check(t, os.WriteFile(filepath.Join(folder, "sh"), nil, 0o755))
	usualShells = []string{"/no/such/bash", "sh"}
	t.Cleanup(func() { usualShells = []string{"/bin/bash", "/bin/sh", "/bin/busybox", "bash", "sh", "ash", "busybox"} })
	if got, err := alone.LoginShell("/no/such:" + folder); err != nil || got.Path != filepath.Join(folder, "sh") {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := alone.LoginShell("/no/such"); !errors.Is(err, ErrNoShell) {
		t.Errorf("%v", err)
	}
	for name, more := range map[string]string{"root": "ann:x:1000:1000::/home/ann:/bin/sh\n", "guest": ""} {
		account, err := database(t, shut+more, "").Lookup(name)
		check(t, err)
		if got, err := account.LoginShell(folder); err != nil || filepath.Base(got.Path) != "nologin" {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
}

func TestGroupID(t *testing.T) {
	d := database(t, "", "root:x:0:\nttys:x:6:\ntty:x:5:ann\ntty:x:7:\n")
	if id, ok := d.GroupID("tty"); !ok || id != 5 {
		t.Errorf("%d %v", id, ok)
	}
	if _, ok := d.GroupID("no"); ok {
		t.Error("found")
	}
}

func TestDoHasTheAccountsRightsAndLeavesOthersTheirs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	folder := t.TempDir()
	secret := filepath.Join(folder, "secret")
	check(t, os.WriteFile(secret, nil, 0o600))
	check(t, os.Chmod(folder, 0o777))
	check(t, os.Chmod(filepath.Dir(folder), 0o755))
	account := Account{Name: "test", UID: 4242, GID: 4243, Groups: []uint32{4244}}
	for range 50 {
		err := account.Do(func() error { _, err := os.ReadFile(secret); return err })
		if !errors.Is(err, os.ErrPermission) {
			t.Fatalf("read it: %v", err)
		}
		_, err = os.ReadFile(secret)
		check(t, err)
	}
	out, err := exec.Command("id", "-u").Output()
	if string(out) != "0\n" {
		t.Fatalf("children run as %s %v", out, err)
	}
}

func TestPeersSeeTheAccount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	path := filepath.Join(t.TempDir(), "socket")
	listener, err := net.Listen("unix", path)
	check(t, err)
	defer func() { _ = listener.Close() }()
	check(t, os.Chmod(path, 0o666))
	for folder := filepath.Dir(path); folder != os.TempDir(); folder = filepath.Dir(folder) {
		check(t, os.Chmod(folder, 0o755))
	}
	account := Account{Name: "test", UID: 4242, GID: 4243}
	var conn net.Conn
	check(t, account.Do(func() (err error) { conn, err = net.Dial("unix", path); return err }))
	defer func() { _ = conn.Close() }()
	peer, err := listener.Accept()
	check(t, err)
	defer func() { _ = peer.Close() }()
	raw, err := peer.(syscall.Conn).SyscallConn()
	check(t, err)
	check(t, raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil || cred.Uid != 4242 || cred.Gid != 4243 {
			t.Errorf("%+v %v", cred, err)
		}
	}))
}

func TestRootAndUsersWithALoginShellMayLogIn(t *testing.T) {
	root := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	lines := "root:x:0:0::/:/usr/sbin/nologin\nann:x:1000:1000::/:/bin/sh\nwww:x:33:33::/:/usr/sbin/nologin\nsync:x:4:4::/:/bin/sync\n"
	check(t, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte(lines), 0o600))
	for uid, may := range map[uint32]bool{0: true, 1000: true, 33: false, 4: false, 9: false} {
		if (Database{Root: root}).MayLogIn(uid) != may {
			t.Errorf("user %d", uid)
		}
	}
}
