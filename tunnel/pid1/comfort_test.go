package pid1

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestFolderOfRunningThingsIsEmptyOfFilesAtAStartAndKeepsItsFolders(t *testing.T) {
	root, other := t.TempDir(), filepath.Join(t.TempDir(), "kept")
	folder := filepath.Join(root, "postgresql")
	for _, err := range []error{
		os.Mkdir(folder, 0o755),
		os.Chmod(folder, 0o2775|os.ModeSetgid),
		os.WriteFile(filepath.Join(folder, "server.pid"), []byte("17"), 0o600),
		os.WriteFile(other, nil, 0o600),
		os.Symlink(other, filepath.Join(root, "link")),
		os.Symlink(filepath.Dir(other), filepath.Join(root, "folder")),
		syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("unix", filepath.Join(folder, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	emptyOfFiles(root)
	emptyOfFiles(filepath.Join(root, "missing"))
	left, _ := filepath.Glob(filepath.Join(root, "*"))
	inside, _ := filepath.Glob(filepath.Join(folder, "*"))
	if len(left) != 1 || left[0] != folder || len(inside) != 0 {
		t.Errorf("left: %v %v", left, inside)
	}
	if info, err := os.Stat(folder); err != nil || info.Mode()&os.ModeSetgid == 0 {
		t.Errorf("%v %v", info, err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error("a link was followed: ", err)
	}
}
