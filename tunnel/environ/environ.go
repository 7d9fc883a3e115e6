// Package environ holds the environment that the container was started with: the image's variables and the owner's. It
// is for logins and the image's command. The agent must not act on it: GODEBUG, GOMEMLIMIT, SSL_CERT_FILE, HTTPS_PROXY
// etc. are meant for programs of the image.
//
// The Go runtime reads some of these before any Go code runs and may end the process over a bad value. So the program is
// linked with its own entry point (entry_*.s, "-E" in LinkerFlag), which gives the runtime an empty environment and
// leaves the real one here. /proc/PID/environ still shows the real one.
package environ

import (
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// LinkerFlag makes the linker use the entry point. A program linked without it, such as a test, keeps its environment.
const LinkerFlag = "-E=netvps/tunnel/environ.entry"

// hidden is the first of the pointers to "NAME=VALUE" that the kernel passed; a nil pointer ends them.
var hidden **byte

// entry is where the process starts (assembly); it jumps to the runtime's own entry point.
//
//lint:ignore U1000 the linker's -E names it
func entry()

// All returns the container's environment as "NAME=VALUE".
func All() []string {
	if hidden == nil {
		return os.Environ()
	}
	var all []string
	for at := hidden; *at != nil; at = (**byte)(unsafe.Add(unsafe.Pointer(at), unsafe.Sizeof(hidden))) {
		all = append(all, unix.BytePtrToString(*at))
	}
	return all
}

// Get returns a variable of the container's environment, or "".
func Get(name string) string { return Value(All(), name) }

// Value returns a variable of a list of "NAME=VALUE", or "". The last one counts, as in os/exec.
func Value(all []string, name string) (value string) {
	for _, pair := range all {
		if found, is := strings.CutPrefix(pair, name+"="); is {
			value = found
		}
	}
	return value
}
