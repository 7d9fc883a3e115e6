package authkeys

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"netvps/tunnel/passwd"
)

const (
	maxFile = 1 << 20
	maxLine = 16 << 10
)

// read returns at most maxFile of a file that only the account and root can have written (sshd's StrictModes). A missing
// file is empty. Call it with the account's rights.
func read(account passwd.Account, path string) ([]byte, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(resolved, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0) // a FIFO must not block
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", resolved)
	}
	if err := checkModes(account, resolved, info); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(file, maxFile))
}

// checkModes checks the file and every folder above it, up to the home directory or the root.
func checkModes(account passwd.Account, path string, info fs.FileInfo) error {
	home, err := filepath.EvalSymlinks(account.Home)
	if err != nil {
		return err
	}
	for {
		owner := info.Sys().(*syscall.Stat_t).Uid
		if owner != 0 && owner != account.UID {
			return fmt.Errorf("%s belongs to another user", path)
		}
		if info.Mode().Perm()&0o022 != 0 {
			return fmt.Errorf("others may write to %s: chmod go-w it", path)
		}
		if path == home || path == "/" {
			return nil
		}
		path = filepath.Dir(path)
		if info, err = os.Stat(path); err != nil {
			return err
		}
	}
}
