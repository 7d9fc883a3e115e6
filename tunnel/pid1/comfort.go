package pid1

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// furnish creates the folders that programs rely on and small images lack. On a read-only file system it does nothing.
func furnish() {
	_ = os.Mkdir("/root", 0o700)
	if os.Mkdir("/tmp", 0o777) == nil {
		_ = os.Chmod("/tmp", 0o777|os.ModeSticky) // past the umask
	}
}

// emptyOfFiles removes what an earlier run left in a folder that is new at each start of a machine: PID files and sockets
// keep services from starting. Folders stay, as packages make theirs once, at installation; mounts stay, too.
func emptyOfFiles(root string) {
	device, ok := deviceOf(root)
	if !ok {
		return
	}
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil // what cannot be read stays
		}
		if now, ok := deviceOf(path); !ok || now != device {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.IsDir() {
			_ = os.Remove(path)
		}
		return nil
	})
}

func deviceOf(path string) (uint64, bool) {
	var status syscall.Stat_t
	err := syscall.Lstat(path, &status)
	return status.Dev, err == nil
}
