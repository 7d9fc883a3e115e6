package environment

import (
	"maps"
	"slices"
	"strings"
)

// Variables is an environment by name.
type Variables map[string]string

// Set applies pairs "NAME=value"; later ones win.
func (v Variables) Set(pairs []string) {
	for _, pair := range pairs {
		if name, value, ok := strings.Cut(pair, "="); ok && name != "" && !strings.Contains(value, "\x00") {
			v[name] = value
		}
	}
}

// List is what execve(2) takes, sorted.
func (v Variables) List() []string {
	list := make([]string, 0, len(v))
	for _, name := range slices.Sorted(maps.Keys(v)) {
		list = append(list, name+"="+v[name])
	}
	return list
}

// OfMachine returns what every login has: the container's environment, overridden by the client's variables, and both by
// the files of /etc, as with Debian's sshd and PAM. An image's PATH (ENV in its Dockerfile) is the exception: it comes
// first, then the one of /etc, as images name their tools there and leave the distribution's /etc/environment alone. TERM
// comes from the client only.
func OfMachine(container, sent []string) Variables {
	variables := Variables{"PATH": DefaultPath, "LANG": "C.UTF-8"}
	variables.Set(container)
	delete(variables, "TERM")
	path := variables["PATH"]
	variables.Set(sent)
	for _, file := range Files {
		variables.Set(Read(file))
	}
	if !IsUsualPath(path) {
		variables["PATH"] = JoinPaths(path, variables["PATH"])
	}
	return variables
}
