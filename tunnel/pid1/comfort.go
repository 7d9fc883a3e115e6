package pid1

import "os"

// furnish makes the folders that programs take for granted and small images lack. What cannot be made, on a read-only
// file system, is left.
func furnish() {
	_ = os.Mkdir("/root", 0o700)
	if os.Mkdir("/tmp", 0o777) == nil {
		_ = os.Chmod("/tmp", 0o777|os.ModeSticky) // past the umask
	}
}
