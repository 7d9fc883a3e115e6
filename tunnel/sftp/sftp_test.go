package sftp

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"netvps/tunnel/passwd"
)

// connection is a client's end, with the test's folder as the working directory of the server.
type connection struct {
	io.Reader
	io.WriteCloser
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func connect(t *testing.T) (c connection, folder string) {
	folder, err := filepath.EvalSymlinks(t.TempDir())
	check(t, err)
	t.Chdir(folder)
	requests, toServer := io.Pipe()
	fromServer, responses := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- serve(requests, responses, passwd.Database{Root: folder})
		_ = responses.Close()
	}()
	t.Cleanup(func() { _ = toServer.Close(); check(t, <-done) })
	return connection{fromServer, toServer}, folder
}

func client(t *testing.T) (*sftp.Client, string) {
	conn, folder := connect(t)
	made, err := sftp.NewClientPipe(conn, conn)
	check(t, err)
	return made, folder
}

// ask sends a packet and returns the type and body of the answer.
func (c connection) ask(t *testing.T, kind byte, fields any) (byte, []byte) {
	t.Helper()
	_, err := c.Write(packet(kind, ssh.Marshal(fields)))
	check(t, err)
	header := make([]byte, headerSize)
	_, err = io.ReadFull(c, header)
	check(t, err)
	body := make([]byte, binary.BigEndian.Uint32(header)-1)
	_, err = io.ReadFull(c, body)
	check(t, err)
	return header[4], body
}

func TestLinksHoldWhatTheClientSaid(t *testing.T) {
	c, folder := client(t)
	for link, target := range map[string]string{"link": "file", "up": "../x", "dead": "no/where", "whole": "/etc/hostname", "odd": "./a//b/"} {
		check(t, c.Symlink(target, link))
		if got, err := os.Readlink(filepath.Join(folder, link)); err != nil || got != target {
			t.Errorf("%s: %q %v", link, got, err)
		}
		if got, err := c.ReadLink(link); err != nil || got != target {
			t.Errorf("read %s: %q %v", link, got, err)
		}
	}
}

func TestFolderHasTheModeThatWasAskedForFromTheStart(t *testing.T) {
	c, folder := connect(t)
	c.ask(t, 1, struct{ Version uint32 }{3})
	kind, body := c.ask(t, typeMkdir, struct {
		ID    uint32
		Path  string
		Flags uint32
		Mode  uint32
	}{7, "private", hasMode, 0o40700})
	if kind != typeStatus || binary.BigEndian.Uint32(body[4:]) != 0 {
		t.Fatalf("%d %q", kind, body)
	}
	if info, err := os.Stat(filepath.Join(folder, "private")); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("%v %v", info, err)
	}
}

func TestRenameReplacesNothingUnlessAsked(t *testing.T) {
	c, folder := client(t)
	for _, name := range []string{"a", "b"} {
		check(t, os.WriteFile(filepath.Join(folder, name), []byte(name), 0o600))
	}
	if err := c.Rename("a", "b"); err == nil {
		t.Fatal("replaced")
	}
	check(t, c.PosixRename("a", "b"))
	check(t, c.Rename("b", "c"))
	if got, err := os.ReadFile(filepath.Join(folder, "c")); err != nil || string(got) != "a" {
		t.Fatalf("%q %v", got, err)
	}
}

func TestRealpathFollowsLinksAndTakesANewName(t *testing.T) {
	c, folder := client(t)
	check(t, os.MkdirAll(filepath.Join(folder, "deep/er"), 0o755))
	check(t, os.Symlink("deep/er", filepath.Join(folder, "link")))
	for path, want := range map[string]string{
		"": folder, ".": folder, "link": folder + "/deep/er", "link/..": folder + "/deep", "new": folder + "/new",
		"link/new": folder + "/deep/er/new", "/": "/",
	} {
		if got, err := c.RealPath(path); err != nil || got != want {
			t.Errorf("%q: %q %v", path, got, err)
		}
	}
	if got, err := c.RealPath("no/such/folder"); err == nil {
		t.Errorf("got %q", got)
	}
}

func TestTildeExpands(t *testing.T) {
	c, folder := connect(t)
	check(t, os.Mkdir(filepath.Join(folder, "etc"), 0o755))
	check(t, os.WriteFile(filepath.Join(folder, "etc/passwd"), []byte("ann:x:5:5::"+folder+"/ann:/bin/sh\n"), 0o644))
	check(t, os.Mkdir(filepath.Join(folder, "ann"), 0o755))
	t.Setenv("HOME", folder)
	_, version := c.ask(t, 1, struct{ Version uint32 }{3})
	offered := map[string]bool{}
	for rest := version[4:]; len(rest) > 0; {
		var pair struct {
			Name, Version string
			Rest          []byte `ssh:"rest"`
		}
		check(t, ssh.Unmarshal(rest, &pair))
		offered[pair.Name], rest = true, pair.Rest
	}
	for _, extension := range append([]string{"posix-rename@openssh.com"}, "expand-path@openssh.com", "limits@openssh.com") {
		if !offered[extension] {
			t.Errorf("%s is not offered: %v", extension, offered)
		}
	}
	for path, want := range map[string]string{"~": folder, "~/ann": folder + "/ann", "~ann": folder + "/ann", "~ann/new": folder + "/ann/new", "ann": folder + "/ann"} {
		_, body := c.ask(t, typeExtended, struct {
			ID         uint32
			Name, Path string
		}{1, "expand-path@openssh.com", path})
		var answer struct {
			ID, Count uint32
			Name      string
			Rest      []byte `ssh:"rest"`
		}
		if err := ssh.Unmarshal(body, &answer); err != nil || answer.Name != want {
			t.Errorf("%s: %+v %v", path, answer, err)
		}
	}
}

func TestTimesOfALinkItself(t *testing.T) {
	c, folder := connect(t)
	check(t, os.Symlink("nowhere", filepath.Join(folder, "link")))
	c.ask(t, 1, struct{ Version uint32 }{3})
	_, body := c.ask(t, typeExtended, struct {
		ID                  uint32
		Name, Path          string
		Flags, Atime, Mtime uint32
	}{1, "lsetstat@openssh.com", "link", hasTimes, 11, 12})
	var info unix.Stat_t
	check(t, unix.Lstat(filepath.Join(folder, "link"), &info))
	if info.Mtim.Sec != 12 {
		t.Fatalf("%v %q", info.Mtim, body)
	}
}

func TestWhatIsNotKnownIsRefusedAndTheRestGoesOn(t *testing.T) {
	c, _ := connect(t)
	c.ask(t, 1, struct{ Version uint32 }{3})
	if kind, body := c.ask(t, typeExtended, struct {
		ID   uint32
		Name string
	}{1, "no-such@example.org"}); kind != typeStatus || binary.BigEndian.Uint32(body[4:]) != 8 {
		t.Fatalf("%d %q", kind, body)
	}
	if kind, _ := c.ask(t, typeRealpath, struct {
		ID   uint32
		Path string
	}{2, "."}); kind != typeName {
		t.Fatalf("got %d", kind)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(byte(typeMkdir), ssh.Marshal(struct {
		ID    uint32
		Path  string
		Flags uint32
	}{1, "a", 0}))
	f.Add(byte(typeRename), ssh.Marshal(struct {
		ID       uint32
		From, To string
	}{1, "a", "b"}))
	f.Add(byte(typeExtended), ssh.Marshal(struct {
		ID         uint32
		Name, Path string
		Flags      uint32
	}{1, "lsetstat@openssh.com", "a", 0xf}))
	f.Add(byte(typeExtended), ssh.Marshal(struct {
		ID         uint32
		Name, Path string
	}{1, "expand-path@openssh.com", "~ann/../x"}))
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		request, ok := parseOwn(kind, body)
		if expand, isPath := request.(expandPath); ok && isPath { // the others act on files
			_ = expand.expanded(passwd.Database{Root: t.TempDir()})
		}
	})
}

// FuzzFilter holds that requests and responses pass whole, however they are cut.
func FuzzFilter(f *testing.F) {
	f.Add(packet(3, []byte("abcdefgh")), 3)
	f.Add(append(packet(5, []byte("x")), packet(6, make([]byte, 300))...), 7)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 5}, 1)
	f.Fuzz(func(t *testing.T, stream []byte, piece int) {
		in, out := io.Pipe()
		go func() {
			_, _ = out.Write(stream)
			_ = out.Close()
		}()
		defer func() { _ = in.Close() }()
		if piece < 1 || piece > 1<<16 {
			piece = 1
		}
		filter := newFilter(in, discard{}, passwd.Database{})
		filter.answer = func(own) []byte { return status(1, nil) } // acts on no files
		for buffer := make([]byte, piece); ; {
			n, err := filter.Read(buffer)
			if err != nil {
				return
			}
			if n > len(buffer) {
				t.Fatalf("read %d", n)
			}
			for filter.open > 0 {
				_, _ = filter.Write(status(1, nil))
			}
		}
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }
