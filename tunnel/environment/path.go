package environment

import (
	"path/filepath"
	"slices"
	"strings"
)

// DefaultPath is the PATH of a container whose image sets none.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// usualFolders are those that a login shell of any distribution uses by default, at least for root.
var usualFolders = append(filepath.SplitList(DefaultPath), "/usr/local/games", "/usr/games", "/snap/bin")

// IsUsualPath reports whether a login shell keeps every folder of a PATH by default.
func IsUsualPath(path string) bool {
	for _, folder := range filepath.SplitList(path) {
		if !slices.Contains(usualFolders, folder) {
			return false
		}
	}
	return true
}

// JoinPaths appends the folders of another PATH to one.
func JoinPaths(path, more string) string {
	folders := filepath.SplitList(path)
	for _, folder := range filepath.SplitList(more) {
		if !slices.Contains(folders, folder) {
			folders = append(folders, folder)
		}
	}
	return strings.Join(folders, string(filepath.ListSeparator))
}
