package x11

import (
	"bytes"
	"encoding/hex"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func request(protocol, cookie string, screen uint32) []byte {
	return ssh.Marshal(struct {
		Single           bool
		Protocol, Cookie string
		Screen           uint32
	}{true, protocol, cookie, screen})
}

func TestParse(t *testing.T) {
	got, err := Parse(request("MIT-MAGIC-COOKIE-1", "00ff", 1))
	if want := (Request{true, "MIT-MAGIC-COOKIE-1", []byte{0, 255}, 1}); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v %v", got, err)
	}
	for name, payload := range map[string][]byte{
		"nothing": nil, "no hex": request("MIT", "xy", 0), "half a byte": request("MIT", "abc", 0), "no cookie": request("MIT", "", 0),
		"long cookie": request("MIT", strings.Repeat("00", 513), 0), "odd name": request("MIT 1", "00", 0),
		"no name": request("", "00", 0), "screen": request("MIT", "00", 401),
	} {
		if got, err := Parse(payload); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(request("MIT-MAGIC-COOKIE-1", "00ff", 1))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if got, err := Parse(payload); err == nil && (!isName(got.Protocol) || len(got.Cookie) == 0) {
			t.Errorf("%+v", got)
		}
	})
}

func FuzzEntries(f *testing.F) {
	f.Add(entry{familyLocal, []byte("host"), []byte("10"), []byte("MIT"), []byte{1, 2}}.marshal())
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, err := parseEntries(text)
		if err != nil {
			return
		}
		var again []byte
		for _, e := range entries {
			again = append(again, e.marshal()...)
		}
		if !bytes.Equal(again, text) {
			t.Errorf("%x became %x", text, again)
		}
	})
}

func TestDisplaysAreApart(t *testing.T) {
	first, err := Listen()
	check(t, err)
	defer first.Close()
	second, err := Listen()
	check(t, err)
	defer second.Close()
	if first.Number < 10 || second.Number <= first.Number {
		t.Fatalf("%d %d", first.Number, second.Number)
	}
	conn, err := net.Dial("tcp", first.Listeners[0].Addr().String())
	check(t, err)
	_ = conn.Close()
}

func TestXauthReadsWhatAuthorizeWrites(t *testing.T) {
	file := filepath.Join(t.TempDir(), ".Xauthority")
	cookie := []byte("0123456789abcdef")
	check(t, Authorize(file, "box", 11, Request{Protocol: "MIT-MAGIC-COOKIE-1", Cookie: []byte("other")}))
	check(t, Authorize(file, "box", 10, Request{Protocol: "MIT-MAGIC-COOKIE-1", Cookie: []byte("old")}))
	check(t, Authorize(file, "box", 10, Request{Protocol: "MIT-MAGIC-COOKIE-1", Cookie: cookie}))
	info, err := os.Stat(file)
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	text, err := os.ReadFile(file)
	check(t, err)
	entries, err := parseEntries(text)
	if err != nil || len(entries) != 2 || !bytes.Equal(entries[0].data, cookie) || string(entries[1].number) != "11" {
		t.Fatalf("%+v %v", entries, err)
	}
	program, err := exec.LookPath("xauth")
	if err != nil {
		t.Skip(err)
	}
	out, err := exec.Command(program, "-f", file, "list").Output()
	if want := "box/unix:10  MIT-MAGIC-COOKIE-1  " + hex.EncodeToString(cookie); err != nil || !strings.Contains(string(out), want) {
		t.Errorf("%q %v", out, err)
	}
}

func TestLocksAreKeptAndLeftOverOnesBroken(t *testing.T) {
	file := filepath.Join(t.TempDir(), ".Xauthority")
	unlock, err := lock(file)
	check(t, err)
	if _, err := lock(file); err == nil {
		t.Fatal("locked twice")
	}
	unlock()
	_, err = lock(file)
	check(t, err)
	old := time.Now().Add(-time.Minute)
	check(t, os.Chtimes(file+"-c", old, old))
	_, err = lock(file)
	check(t, err)
}
