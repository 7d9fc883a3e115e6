package environment

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestParseIsThatOfPam(t *testing.T) {
	text := "# comment\nA=1\n  B = no name\nexport C=\"two words\" \nD='x' # why\nE=\nF=a=b\n=x\nG\nH=\"open\nI='mixed\"\nJ=$HOME\nA=2\n\n9=nine\nK-L=x"
	want := []string{"A=1", "C=two words", "D=x", "E=", "F=a=b", "H=open", "I=mixed", "J=$HOME", "A=2", "9=nine"}
	if got := Parse(text); !reflect.DeepEqual(got, want) {
		t.Fatalf("got %q", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("A=1\nexport B='x'\n#\nC=\"")
	f.Fuzz(func(t *testing.T, text string) {
		for _, pair := range Parse(text) {
			name, value, ok := strings.Cut(pair, "=")
			if !ok || !isName(name) || strings.ContainsAny(value, "\x00\n") {
				t.Errorf("%q: %q", text, pair)
			}
		}
	})
}

func TestReadTakesRegularFilesOnly(t *testing.T) {
	folder := t.TempDir()
	check(t, os.WriteFile(filepath.Join(folder, "file"), []byte("A=1"), 0o600))
	if got := Read(filepath.Join(folder, "file")); !reflect.DeepEqual(got, []string{"A=1"}) {
		t.Errorf("got %q", got)
	}
	for _, path := range []string{folder, filepath.Join(folder, "none"), "/dev/zero"} {
		if got := Read(path); got != nil {
			t.Errorf("%s: %q", path, got)
		}
	}
}

func TestFilesOverrideTheContainerButItsPathComesFirst(t *testing.T) {
	folder := t.TempDir()
	files := Files
	t.Cleanup(func() { Files = files })
	Files = []string{filepath.Join(folder, "environment"), filepath.Join(folder, "locale")}
	check(t, os.WriteFile(Files[0], []byte("A=file\nPATH=/usr/bin:/opt/etc\n"), 0o600))
	check(t, os.WriteFile(Files[1], []byte("LANG=de_DE.UTF-8\n"), 0o600))
	for path, want := range map[string]string{
		"/opt/tool/bin:/usr/bin": "/opt/tool/bin:/usr/bin:/opt/etc", // the image's own
		DefaultPath:              "/usr/bin:/opt/etc",
	} {
		got := OfMachine([]string{"A=image", "B=image", "PATH=" + path, "=x", "C=\x00", "TERM=dumb"}, []string{"LANG=C", "LC_TIME=C"})
		if !reflect.DeepEqual(got.List(), []string{"A=file", "B=image", "LANG=de_DE.UTF-8", "LC_TIME=C", "PATH=" + want}) {
			t.Errorf("got %q", got.List())
		}
	}
}

// container is a root folder with an /etc/profile like Debian's.
func container(t *testing.T) (root, file string) {
	root = t.TempDir()
	check(t, os.MkdirAll(filepath.Join(root, profileFolder), 0o755))
	check(t, os.WriteFile(filepath.Join(root, profile), []byte("PATH=/usr/local/bin:/usr/bin:/usr/games\nexport PATH\n"+
		"for i in "+root+"/etc/profile.d/*.sh; do if [ -r $i ]; then . $i; fi; done\n"), 0o644))
	return root, filepath.Join(root, profileFolder, profileFile)
}

func TestLoginShellsKeepThePathOfTheImage(t *testing.T) {
	for path, want := range map[string]string{
		"/opt/tool/bin:/usr/bin:/bin": "/opt/tool/bin:/usr/bin:/bin:/usr/local/bin:/usr/games",
		"/opt/it's $HOME `x`/bin":     "/opt/it's $HOME `x`/bin:/usr/local/bin:/usr/bin:/usr/games",
		"/usr/local/bin:/usr/bin":     "/usr/local/bin:/usr/bin:/usr/games",
	} {
		root, _ := container(t)
		check(t, KeepPath(root, path))
		check(t, KeepPath(root, path)) // again, as at the next start
		for _, shell := range []string{"dash", "bash"} {
			program, err := exec.LookPath(shell)
			if err != nil {
				continue
			}
			out, err := exec.Command(program, "-euc", ". "+filepath.Join(root, profile)+`; printf %s "$PATH"`).CombinedOutput()
			if err != nil || string(out) != want {
				t.Errorf("%s: %q %v, want %q", shell, out, err, want)
			}
		}
	}
}

func TestProfileIsWrittenWhereNeededAndUserFileIsKept(t *testing.T) {
	root, file := container(t)
	check(t, KeepPath(root, DefaultPath))
	if _, err := os.Stat(file); err == nil {
		t.Error("written for a usual PATH")
	}
	check(t, KeepPath(root, "/opt/bin"))
	check(t, KeepPath(root, DefaultPath))
	if _, err := os.Stat(file); err == nil {
		t.Error("left although the PATH is usual now")
	}
	check(t, os.WriteFile(file, nil, 0o644))
	check(t, KeepPath(root, "/opt/bin"))
	if text, err := os.ReadFile(file); err != nil || len(text) != 0 {
		t.Errorf("an emptied file was written again: %q %v", text, err)
	}
	bare := t.TempDir()
	check(t, KeepPath(bare, "/opt/bin"))
	if _, err := os.Stat(filepath.Join(bare, "etc")); err == nil {
		t.Error("written into an image without /etc/profile")
	}
}

func TestFIFOInPlaceOfFileDoesNotBlock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "environment")
	check(t, unix.Mkfifo(path, 0o644))
	read := make(chan []string, 1)
	go func() { read <- Read(path) }()
	select {
	case variables := <-read:
		if variables != nil {
			t.Errorf("variables of a FIFO: %q", variables)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("reading waits for a writer")
	}
}
