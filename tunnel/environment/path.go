package environment

import (
	"path/filepath"
	"slices"
	"strings"
)

// DefaultPath is that of a container whose image sets none.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// usualFolders are those that a login shell of any distribution finds by itself, for root at least.
var usualFolders = append(filepath.SplitList(DefaultPath), "/usr/local/games", "/usr/games", "/snap/bin")

// IsUsualPath says that a PATH has nothing that a login shell would lose.
func IsUsualPath(path string) bool {
	for _, folder := range filepath.SplitList(path) {
		if !slices.Contains(usualFolders, folder) {
			return false
		}
	}
	return true
}

// JoinPaths is a PATH with the folders of another one behind its own.
func JoinPaths(path, more string) string {
	folders := filepath.SplitList(path)
	for _, folder := range filepath.SplitList(more) {
		if !slices.Contains(folders, folder) {
			folders = append(folders, folder)
		}
	}
	return strings.Join(folders, string(filepath.ListSeparator))
}
