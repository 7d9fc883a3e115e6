package rundir

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"netvps/tunnel/api"
)

const good = `{"session_uid": "s1", "epoch": 3, "ca_certificate": "PEM", "server_name": "x", "new": 1}`

func TestBoot(t *testing.T) {
	dir := Dir(t.TempDir())
	if _, err := dir.Boot(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for text, ok := range map[string]bool{
		good:                                    true,
		strings.Replace(good, "s1", "../s1", 1): false,
		strings.Replace(good, "s1", "", 1):      false,
		strings.Replace(good, `"PEM"`, `""`, 1): false,
		strings.Replace(good, `"x"`, `""`, 1):   false,
		good[:40]:                               false,
	} {
		if err := os.WriteFile(dir.Path(BootFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		boot, err := dir.Boot()
		if (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
		if want := (Boot{"s1", 3, "PEM", "x"}); ok && boot != want {
			t.Errorf("%+v", boot)
		}
	}
}

func TestConfigIsKept(t *testing.T) {
	dir := Dir(t.TempDir())
	if config, err := dir.Config(); config != nil || err != nil {
		t.Fatalf("%v %v", config, err)
	}
	want := &api.AgentConfig{Generation: 4, AuthorizedKeys: []string{"a"}, UserCaKeys: []string{"b"}, HostCertificate: "c"}
	if err := dir.SaveConfig(want); err != nil {
		t.Fatal(err)
	}
	if got, err := dir.Config(); err != nil || !proto.Equal(got, want) {
		t.Fatalf("%v %v", got, err)
	}
	if err := os.WriteFile(dir.Path(configFile), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := dir.Config(); err == nil {
		t.Fatalf("%v", got)
	}
}

func TestWriteFileIsForTheOwnerAndLeavesNothingBehind(t *testing.T) {
	dir := Dir(t.TempDir())
	for _, text := range []string{"first and longer", "second"} {
		if err := WriteFile(dir.Path("file"), []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(dir.Path("file")); string(got) != text {
			t.Fatalf("%q %v", got, err)
		}
	}
	if err := os.Mkdir(dir.Path("folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(dir.Path("folder"), nil); err == nil {
		t.Fatal("replaced a folder")
	}
	entries, err := os.ReadDir(string(dir))
	if err != nil || len(entries) != 2 {
		t.Fatalf("%v %v", entries, err)
	}
	if info, err := entries[0].Info(); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
}

func FuzzBoot(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(strings.Repeat("[", 20_000)))
	f.Add([]byte(`{"session_uid": "a/../b", "ca_certificate": "x", "server_name": "y"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		boot, err := parseBoot(data)
		if err == nil && (boot.CACertificate == "" || boot.ServerName == "" || strings.ContainsAny(boot.SessionUID, "/.\x00")) {
			t.Fatalf("%q: %+v", data, boot)
		}
	})
}
