package pid1

import "os"

// furnish creates the folders that programs rely on and small images lack. On a read-only file system it does nothing.
func furnish() {
	_ = os.Mkdir("/root", 0o700)
	if os.Mkdir("/tmp", 0o777) == nil {
		_ = os.Chmod("/tmp", 0o777|os.ModeSticky) // past the umask
	}
}
