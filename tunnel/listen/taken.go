package listen

import (
	"net"
	"os"
	"strconv"
	"strings"
)

const stateListen = "0A" // of proc_pid_net(5)'s tcp

// listensOn reports whether a process in this network namespace listens on the port of an address. It does not connect:
// a server would log that.
func listensOn(address string) bool {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return false
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		sockets, err := os.ReadFile(table)
		if err == nil && hasListener(string(sockets), uint16(port)) {
			return true
		}
	}
	return false
}

// hasListener reads lines like "0: 0100007F:0016 00000000:0000 0A …".
func hasListener(table string, port uint16) bool {
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[3] != stateListen {
			continue
		}
		_, text, _ := strings.Cut(fields[1], ":")
		if found, err := strconv.ParseUint(text, 16, 16); err == nil && uint16(found) == port {
			return true
		}
	}
	return false
}
