// Package passwd reads the image's /etc/passwd and /etc/group, and acts as their users. A static program has no NSS.
package passwd

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Account is a user of the image.
type Account struct {
	Name   string
	UID    uint32
	GID    uint32
	Groups []uint32 // supplementary, GID not among them
	Home   string   // absolute; need not exist
	Shell  string   // as in passwd; may be empty or missing in the image

	// OnlyLogin means that this is root, and that no account of the image has a login shell.
	OnlyLogin bool
}

// Database is a root folder with etc/passwd and etc/group in it.
type Database struct{ Root string }

// Lookup finds a user by name. root always exists, even in an image without passwd. The files are read each time, as users
// may be added and removed while the session runs.
func (d Database) Lookup(name string) (Account, error) {
	account, found, err := d.find(name)
	if err != nil {
		return account, err
	}
	if !found && name != "root" {
		return account, fmt.Errorf("no user %q in %s", name, d.path("passwd"))
	}
	if !found {
		account = Account{Name: "root", Home: d.rootHome()}
	}
	if account.UID == 0 && isShut(account.Shell) {
		account.OnlyLogin, err = d.noLoginShells()
		if err != nil {
			return account, err
		}
	}
	account.Groups, err = d.groups(account)
	return account, err
}

func (d Database) path(name string) string { return filepath.Join(d.Root, "etc", name) }

func (d Database) rootHome() string {
	if isDir(filepath.Join(d.Root, "root")) {
		return "/root"
	}
	return "/"
}

func (d Database) find(name string) (account Account, found bool, err error) {
	err = d.lines("passwd", func(line string) {
		if parsed, ok := parseAccount(line); ok && !found && parsed.Name == name {
			account, found = parsed, true
		}
	})
	return account, found, err
}

// MayLogIn reports whether a user, by its number, is root or has a login shell.
func (d Database) MayLogIn(uid uint32) bool {
	may := uid == 0
	err := d.lines("passwd", func(line string) {
		if account, ok := parseAccount(line); ok && account.UID == uid && takesLogins(account.Shell) {
			may = true
		}
	})
	return may && err == nil
}

// noLoginShells reports whether no account has a login shell.
func (d Database) noLoginShells() (none bool, err error) {
	none = true
	err = d.lines("passwd", func(line string) {
		if account, ok := parseAccount(line); ok && takesLogins(account.Shell) {
			none = false
		}
	})
	return none, err
}

// GroupID finds a group by name.
func (d Database) GroupID(name string) (id uint32, found bool) {
	err := d.lines("group", func(line string) {
		if group, gid, _, ok := parseGroup(line); ok && !found && group == name {
			id, found = gid, true
		}
	})
	return id, found && err == nil
}

// groups returns the groups that list the user as a member.
func (d Database) groups(account Account) (groups []uint32, err error) {
	err = d.lines("group", func(line string) {
		_, gid, members, ok := parseGroup(line)
		if ok && gid != account.GID && slices.Contains(members, account.Name) && !slices.Contains(groups, gid) {
			groups = append(groups, gid)
		}
	})
	return groups, err
}

// lines calls each for every line of a file; a missing file has none.
func (d Database) lines(name string, each func(string)) error {
	file, err := os.Open(d.path(name))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	return scan(file, each)
}

func scan(reader io.Reader, each func(string)) error {
	scanner := bufio.NewScanner(reader)
	scanner.Buffer(nil, 4<<20) // a group's line lists all of its members
	for scanner.Scan() {
		each(scanner.Text())
	}
	return scanner.Err()
}

// parseAccount parses "name:password:uid:gid:gecos:home:shell".
func parseAccount(line string) (Account, bool) {
	fields := strings.Split(line, ":")
	if len(fields) != 7 || !validName(fields[0]) {
		return Account{}, false
	}
	uid, uidErr := parseID(fields[2])
	gid, gidErr := parseID(fields[3])
	if uidErr != nil || gidErr != nil {
		return Account{}, false
	}
	home := fields[5]
	if !filepath.IsAbs(home) {
		home = "/"
	}
	shell := cmp.Or(strings.TrimSpace(fields[6]), "/bin/sh") // passwd(5)
	return Account{Name: fields[0], UID: uid, GID: gid, Home: home, Shell: shell}, true
}

// parseGroup parses "name:password:gid:member,member".
func parseGroup(line string) (name string, gid uint32, members []string, ok bool) {
	fields := strings.Split(line, ":")
	if len(fields) != 4 || !validName(fields[0]) {
		return "", 0, nil, false
	}
	gid, err := parseID(fields[2])
	if err != nil {
		return "", 0, nil, false
	}
	for member := range strings.SplitSeq(fields[3], ",") {
		members = append(members, strings.TrimSpace(member))
	}
	return fields[0], gid, members, true
}

// validName refuses comments and NIS's "+" and "-" entries.
func validName(name string) bool { return name != "" && !strings.ContainsAny(name[:1], "#+-") }

// parseID rejects 2^32-1, which means "unchanged" to the kernel.
func parseID(text string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err == nil && id == 1<<32-1 {
		err = strconv.ErrRange
	}
	return uint32(id), err
}
