package welcome

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReadmeNamesTheSessionAndIsReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "README")
	if err := Write(path, "web"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "web is a session of netvps") || strings.Contains(string(text), "NAME") {
		t.Errorf("wrote %q", text)
	}
	for number, line := range strings.Split(string(text), "\n") {
		if len(line) > 100 {
			t.Errorf("line %d is %d wide: %q", number+1, len(line), line)
		}
	}
	if info, _ := os.Stat(path); info.Mode() != 0o444 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestReadmeThatIsRightIsLeftAloneAndAnotherIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README")
	old := time.Unix(1, 0)
	for _, name := range []string{"web", "web"} {
		if err := Write(path, name); err != nil {
			t.Fatal(err)
		}
		_ = os.Chtimes(path, old, old)
	}
	if info, _ := os.Stat(path); !info.ModTime().Equal(old) {
		t.Error("written again")
	}
	if err := Write(path, "db"); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); !strings.HasPrefix(string(text), "db is") {
		t.Errorf("not replaced: %q", text)
	}
}

func TestGreetingSaysWhatStaysAndWhereToReadMore(t *testing.T) {
	for _, part := range []string{"files stay", "netvps ssh web", Path} {
		if !strings.Contains(Greeting("web"), part) {
			t.Errorf("%q lacks %q", Greeting("web"), part)
		}
	}
}
