package environment

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	profile       = "etc/profile"
	profileFolder = "etc/profile.d"
	profileFile   = "00-netvps-path.sh"
	profileHead   = "# Written by netvps at each start of this VPS; empty the file to disable this.\n"
	profileBody   = `# /etc/profile sets PATH to its own value. This puts the image's PATH back, as ` + "`docker exec`" + ` has it.
_netvps_path=%s
_netvps_rest=$PATH:
while [ -n "$_netvps_rest" ]; do
  _netvps_next=${_netvps_rest%%%%:*}
  _netvps_rest=${_netvps_rest#*:}
  case ":$_netvps_path::" in
    *":$_netvps_next:"*) ;;
    *) _netvps_path=$_netvps_path:$_netvps_next ;;
  esac
done
export PATH="$_netvps_path"
unset _netvps_path _netvps_rest _netvps_next
`
)

// KeepPath makes login shells keep the image's PATH; root is the container's root folder. Where /etc/profile reads
// /etc/profile.d it writes a file there, the one place that every Bourne shell reads after /etc/profile has set PATH;
// that also serves `su -`, tmux, and `bash -l` in `docker exec`. It writes nothing for a usual PATH.
func KeepPath(root, path string) error {
	file := filepath.Join(root, profileFolder, profileFile)
	old, err := os.ReadFile(file)
	if err == nil && !strings.HasPrefix(string(old), profileHead) {
		return nil // a file of the user
	}
	if IsUsualPath(path) || strings.ContainsAny(path, "\x00\n") {
		if err == nil {
			return os.Remove(file) // of an earlier image or environment
		}
		return nil
	}
	text, err := os.ReadFile(filepath.Join(root, profile))
	if err != nil || !strings.Contains(string(text), "/"+profileFolder) {
		return nil // no such shells here
	}
	wanted := profileHead + fmt.Sprintf(profileBody, quoted(path))
	if string(old) == wanted {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return replace(file, wanted)
}

// replace writes a file atomically.
func replace(file, text string) error {
	temporary := file + ".new"
	if err := os.WriteFile(temporary, []byte(text), 0o644); err != nil {
		return err
	}
	if err := os.Chmod(temporary, 0o644); err != nil { // past the umask
		return err
	}
	return os.Rename(temporary, file)
}

// quoted quotes a word for a POSIX shell.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
