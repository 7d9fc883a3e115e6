package sftp

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"netvps/tunnel/environ"
	"netvps/tunnel/passwd"
)

// own is a request that pkg/sftp does not answer as OpenSSH does.
type own interface {
	answer(users passwd.Database) []byte
}

// extensions are those answered here, with their names in OpenSSH's PROTOCOL.
var extensions = []struct{ name, version string }{
	{"expand-path@openssh.com", "1"},
	{"lsetstat@openssh.com", "1"},
	{"limits@openssh.com", "1"},
	{"home-directory", "1"},
}

// withExtensions adds the extensions to a VERSION packet.
func withExtensions(version []byte) []byte {
	whole := append([]byte{}, version...)
	for _, extension := range extensions {
		whole = append(whole, ssh.Marshal(struct{ Name, Version string }{extension.name, extension.version})...)
	}
	binary.BigEndian.PutUint32(whole, uint32(len(whole)-4))
	return whole
}

// parseOwn parses the body of a packet; false to leave it to pkg/sftp.
func parseOwn(kind byte, body []byte) (own, bool) {
	var request struct {
		ID   uint32
		Text string
		Rest []byte `ssh:"rest"`
	}
	if ssh.Unmarshal(body, &request) != nil {
		return nil, false
	}
	switch kind {
	case typeRealpath:
		return realpath{request.ID, request.Text}, true
	case typeMkdir:
		folder := &mkdir{id: request.ID, path: request.Text}
		return folder, folder.attributes.parse(request.Rest)
	case typeRename:
		var to struct {
			Path string
			Rest []byte `ssh:"rest"`
		}
		err := ssh.Unmarshal(request.Rest, &to)
		return rename{request.ID, request.Text, to.Path}, err == nil
	default:
		return parseExtended(request.ID, request.Text, request.Rest)
	}
}

func parseExtended(id uint32, name string, rest []byte) (own, bool) {
	var argument struct {
		Text string
		Rest []byte `ssh:"rest"`
	}
	if name == "limits@openssh.com" {
		return limits{id}, true
	}
	if ssh.Unmarshal(rest, &argument) != nil {
		return nil, false
	}
	switch name {
	case "expand-path@openssh.com":
		return expandPath{id, argument.Text}, true
	case "home-directory":
		return homeDirectory{id, argument.Text}, true
	case "lsetstat@openssh.com":
		request := &lsetstat{id: id, path: argument.Text}
		return request, request.attributes.parse(argument.Rest)
	default:
		return nil, false
	}
}

// expandPath handles paths that begin with "~" or "~USER".
type expandPath struct {
	id   uint32
	path string
}

func (e expandPath) answer(users passwd.Database) []byte {
	return realpath{e.id, e.expanded(users)}.answer(users)
}

func (e expandPath) expanded(users passwd.Database) string {
	if !strings.HasPrefix(e.path, "~") {
		return e.path
	}
	user, rest, _ := strings.Cut(e.path[1:], "/")
	home, ok := homeOf(user, users)
	if !ok {
		return e.path
	}
	return path.Join(home, rest)
}

// homeOf returns the home directory of a user, or of the account that logged in.
func homeOf(user string, users passwd.Database) (string, bool) {
	if home := environ.Get("HOME"); user == "" && home != "" {
		return home, true
	}
	account, err := users.Lookup(user)
	return account.Home, err == nil
}

// realpath makes a path absolute and resolves symbolic links; its last part need not exist.
type realpath struct {
	id   uint32
	path string
}

func (r realpath) answer(passwd.Database) []byte {
	absolute, err := filepath.Abs(".")
	if err == nil && filepath.IsAbs(r.path) {
		absolute = r.path
	} else if err == nil {
		absolute += "/" + r.path // not cleaned: ".." after a symbolic link leads to the parent of its target
	}
	if err == nil {
		absolute, err = resolve(absolute)
	}
	if err != nil {
		return status(r.id, err)
	}
	return name(r.id, absolute)
}

func resolve(absolute string) (string, error) {
	resolved, err := filepath.EvalSymlinks(absolute)
	if errors.Is(err, fs.ErrNotExist) {
		absolute = strings.TrimRight(absolute, "/")
		parent, last := filepath.Split(absolute)
		if last == "." || last == ".." {
			return "", err
		}
		resolved, err = filepath.EvalSymlinks(parent)
		resolved = filepath.Join(resolved, last)
	}
	return resolved, err
}

type homeDirectory struct {
	id   uint32
	user string
}

func (h homeDirectory) answer(users passwd.Database) []byte {
	home, ok := homeOf(h.user, users)
	if !ok {
		return status(h.id, fs.ErrNotExist)
	}
	return name(h.id, home)
}

// limits returns what pkg/sftp accepts: clients use 32 KiB per request if they do not know it.
type limits struct{ id uint32 }

func (l limits) answer(passwd.Database) []byte {
	return packet(typeReply, ssh.Marshal(struct {
		ID                         uint32
		Packet, Read, Write, Files uint64
	}{l.id, maxRequest, maxData, maxData, 0}))
}

// mkdir creates a folder with the requested mode: changing it afterwards would leave the folder open for a moment.
type mkdir struct {
	id         uint32
	path       string
	attributes attributes
}

func (m *mkdir) answer(passwd.Database) []byte {
	mode := uint32(0o777)
	if m.attributes.flags&hasMode != 0 {
		mode = m.attributes.mode & 0o7777
	}
	return status(m.id, unix.Mkdir(m.path, mode))
}

// rename replaces nothing, as version 3 of the protocol requires; posix-rename@openssh.com does.
type rename struct {
	id       uint32
	from, to string
}

func (r rename) answer(passwd.Database) []byte {
	err := unix.Renameat2(unix.AT_FDCWD, r.from, unix.AT_FDCWD, r.to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a file system without support for the flag
		if _, exists := os.Lstat(r.to); exists == nil {
			return status(r.id, unix.EEXIST)
		}
		err = os.Rename(r.from, r.to)
	}
	return status(r.id, err)
}

// lsetstat sets attributes of the path itself, without following a symbolic link.
type lsetstat struct {
	id         uint32
	path       string
	attributes attributes
}

func (l *lsetstat) answer(passwd.Database) []byte {
	a := &l.attributes
	var err error
	if a.flags&hasSize != 0 {
		err = unix.EINVAL
	}
	if err == nil && a.flags&hasMode != 0 {
		err = unix.Fchmodat(unix.AT_FDCWD, l.path, a.mode&0o7777, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil && a.flags&hasTimes != 0 {
		times := []unix.Timespec{unix.NsecToTimespec(seconds(a.atime)), unix.NsecToTimespec(seconds(a.mtime))}
		err = unix.UtimesNanoAt(unix.AT_FDCWD, l.path, times, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil && a.flags&hasOwner != 0 {
		err = unix.Lchown(l.path, int(a.uid), int(a.gid))
	}
	return status(l.id, err)
}

func seconds(unixTime uint32) int64 { return int64(unixTime) * int64(time.Second) }

// statusOf maps an error to the status codes of version 3.
func statusOf(err error) (code uint32, message string) {
	switch {
	case err == nil:
		return 0, "Success"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		return 2, "No such file"
	case errors.Is(err, fs.ErrPermission):
		return 3, "Permission denied"
	default:
		return 4, "Failure: " + err.Error()
	}
}
